//! Lines.

use exporter::destination::stdout::{Spec, request, shape};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Case, case};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_line_is_one_event_whatever_its_texts(cases in proptest::collection::vec(case(), 1..4)) {
        let shaped: Vec<_> = cases.iter().map(|case| shape::shape(&case.routed())).collect();
        let written = String::from_utf8(request::lines(&shaped).to_vec()).unwrap();
        prop_assert!(written.ends_with('\n'));
        let read: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        prop_assert_eq!(read, cases.iter().map(Case::value).collect::<Vec<_>>());
    }
}

#[test]
fn block_has_no_fields() {
    assert!(serde_json::from_str::<Spec>("{}").is_ok());
    assert!(serde_json::from_str::<Spec>(r#"{"path":"/dev/stderr"}"#).is_err());
}
