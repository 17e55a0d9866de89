//! Kubernetes quantities (`500m`, `1Gi`, `1e3`) as amounts, and in the form that the API server writes.
//!
//! Format: <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/>.

/// The amount in thousandths, or `None` when the text is not a quantity.
pub fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (numerator, denominator): (i128, i128) = match suffix {
        "" => (1000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "k" => (1_000_000, 1),
        "M" => (1_000_000_000, 1),
        "G" => (1_000_000_000_000, 1),
        "T" => (1_000_000_000_000_000, 1),
        "P" => (1_000_000_000_000_000_000, 1),
        "E" => (1_000_000_000_000_000_000_000, 1),
        "Ki" => (1000 << 10, 1),
        "Mi" => (1000 << 20, 1),
        "Gi" => (1000 << 30, 1),
        "Ti" => (1000 << 40, 1),
        "Pi" => (1000 << 50, 1),
        "Ei" => (1000 << 60, 1),
        scientific => {
            let power: u32 = scientific.strip_prefix(['e', 'E'])?.parse().ok().filter(|p| *p <= 18)?;
            (1000 * 10i128.pow(power), 1)
        }
    };
    let negative = number.starts_with('-');
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 12 {
        return None;
    }
    let scale = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let units: i128 = format!("{whole}{fraction}").parse().ok()?;
    let amount = units.checked_mul(numerator)? / (scale * denominator);
    Some(if negative { -amount } else { amount })
}

/// The amount in whole units, rounded up; bytes for sizes.
pub fn units(text: &str) -> Option<i64> {
    let milli = parse(text)?;
    i64::try_from((milli + 999).div_euclid(1000)).ok()
}

/// The form that the API server gives back, so that a comparison finds no difference where there is none.
pub fn canonical(text: &str) -> String {
    let Some(milli) = parse(text).filter(|milli| *milli >= 0) else { return text.to_owned() };
    if milli % 1000 != 0 {
        return if text.ends_with(['n', 'u']) { text.to_owned() } else { format!("{milli}m") };
    }
    let whole = milli / 1000;
    let binary = text.ends_with('i');
    let steps: &[(&str, i128)] = if binary {
        &[("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)]
    } else if text.contains(['e', 'E']) && !text.ends_with('E') {
        return text.to_owned();
    } else {
        &[
            ("E", 1_000_000_000_000_000_000),
            ("P", 1_000_000_000_000_000),
            ("T", 1_000_000_000_000),
            ("G", 1_000_000_000),
            ("M", 1_000_000),
            ("k", 1000),
        ]
    };
    let step = steps.iter().find(|(_, size)| whole > 0 && whole % size == 0);
    step.map_or_else(|| whole.to_string(), |(suffix, size)| format!("{}{suffix}", whole / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, milli) in [
            ("1", 1000),
            ("500m", 500),
            ("0.5", 500),
            (".5", 500),
            ("1Ki", 1_024_000),
            ("1e3", 1_000_000),
            ("-1", -1000),
        ] {
            assert_eq!(parse(text), Some(milli), "{text}");
        }
        for text in ["", "x", "1x", "1e99", "--1", "m"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn canonical_forms_are_those_of_the_api_server() {
        for (text, form) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1000m", "1"),
            ("1500", "1500"),
            ("2000", "2k"),
            ("1.5Gi", "1536Mi"),
            ("1", "1"),
            ("0", "0"),
        ] {
            assert_eq!(canonical(text), form, "{text}");
        }
    }
}
