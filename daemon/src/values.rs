//! Values of configurations, each parsed once into a type that can not hold a bad one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The bare name of a file inside the secrets directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct FileName(String);

impl TryFrom<String> for FileName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl From<FileName> for String {
    fn from(FileName(text): FileName) -> Self {
        text
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for FileName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl FileName {
    fn parse(text: String) -> Result<Self, String> {
        // A name with a slash or `..` could read any file of the container.
        if text.is_empty() || text.contains(['/', '\\', '\0']) || text == "." || text == ".." {
            return Err(format!(
                "'{text}' is not the bare name of a file in the secrets directory: write a name without slashes"
            ));
        }
        Ok(Self(text))
    }
}

/// A duration as a whole number and `ms`, `s`, `m` or `h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let advice = || format!("'{text}' is not a duration such as 500ms, 30s, 2m or 24h");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let number: u64 = digits.parse().map_err(|_| advice())?;
        let unit = match &text[digits.len()..] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(advice()),
        };
        number.checked_mul(unit).map(|millis| Self(Duration::from_millis(millis))).ok_or_else(advice)
    }
}

impl From<Span> for String {
    fn from(Span(duration): Span) -> Self {
        match duration.as_millis() {
            millis if millis % 3_600_000 == 0 && millis > 0 => format!("{}h", millis / 3_600_000),
            millis if millis % 60_000 == 0 && millis > 0 => format!("{}m", millis / 60_000),
            millis if millis % 1_000 == 0 => format!("{}s", millis / 1_000),
            millis => format!("{millis}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_stays_inside_its_directory() {
        for bad in ["", "../key", "a/b", "..", "."] {
            assert!(FileName::parse(bad.into()).is_err(), "{bad}");
        }
        assert!(FileName::parse("tls.key".into()).is_ok());
    }

    #[test]
    fn durations_have_units_and_are_written_as_they_are_read() {
        for (text, millis) in [
            ("100ms", Some(100)),
            ("30s", Some(30_000)),
            ("10m", Some(600_000)),
            ("24h", Some(86_400_000)),
            ("0s", Some(0)),
            ("30", None),
            ("s", None),
            ("1d", None),
            ("-1s", None),
            ("18446744073709551615h", None),
        ] {
            let parsed = Span::try_from(text.to_owned()).ok();
            assert_eq!(parsed.map(|span| span.0.as_millis()), millis, "{text}");
            if let Some(span) = parsed {
                assert_eq!(String::from(span), text);
            }
        }
    }
}
