//! A strict parser of CEF messages, for comparison.

/// One message: the seven fields of the header, and the pairs of the extension.
#[derive(Debug, PartialEq, Eq)]
pub struct Cef {
    pub header: Vec<String>,
    pub pairs: Vec<(String, String)>,
}

pub fn parse(text: &str) -> Result<Cef, String> {
    let rest = text.strip_prefix("CEF:0|").ok_or("no CEF:0|")?;
    if text.contains(['\n', '\r']) {
        return Err("a raw line break".into());
    }
    let mut header = Vec::new();
    let mut chars = rest.chars();
    while header.len() < 6 {
        let mut field = String::new();
        loop {
            match chars.next().ok_or("the header ends early")? {
                '|' => break,
                '\\' => match chars.next() {
                    Some(escaped @ ('|' | '\\')) => field.push(escaped),
                    other => return Err(format!("escape {other:?} in the header")),
                },
                c => field.push(c),
            }
        }
        header.push(field);
    }
    // A key begins after a space, or at the start, and ends at an unescaped equals sign; everything up to the next is
    // value.
    let extension: Vec<char> = chars.collect();
    let is_key = |at: usize| {
        let end = extension[at..].iter().position(|c| !c.is_ascii_alphanumeric())? + at;
        (end > at && extension[end] == '=' && (at == 0 || extension[at - 1] == ' ')).then_some(end)
    };
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut at = 0;
    while at < extension.len() {
        let end = is_key(at).ok_or_else(|| format!("no key at {at}"))?;
        let key: String = extension[at..end].iter().collect();
        if pairs.iter().any(|(other, _)| *other == key) {
            return Err(format!("{key} twice"));
        }
        let mut value = String::new();
        at = end + 1;
        loop {
            match extension.get(at) {
                None => break,
                Some(' ') if is_key(at + 1).is_some() => {
                    at += 1;
                    break;
                }
                Some('\\') => {
                    value.push(match extension.get(at + 1) {
                        Some('n') => '\n',
                        Some('r') => '\r',
                        Some(escaped @ ('=' | '\\')) => *escaped,
                        other => return Err(format!("escape {other:?} in {key}")),
                    });
                    at += 2;
                }
                Some('=') => return Err(format!("an unescaped = in {key}")),
                Some(c) => {
                    value.push(*c);
                    at += 1;
                }
            }
        }
        pairs.push((key, value));
    }
    Ok(Cef { header, pairs })
}
