//! `golden/DESTINATION/SAMPLE` is what the destination writes for `events/samples/SAMPLE.json`.
//!
//! `UPDATE_GOLDEN=1 cargo test -p exporter --test canonical` writes the files anew.

use std::path::PathBuf;

/// Compares with the golden file.
pub fn check(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    similar_asserts::assert_eq!(actual, expected, "{name}");
}
