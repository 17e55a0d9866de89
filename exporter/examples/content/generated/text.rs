//! JSON for people: sorted keys, and what is short stays on one line.

use serde_json::Value;

/// Longest line that a list or an object is kept on.
const LINE: usize = 120;

/// The value with a line break at its end.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out.push('\n');
    out
}

/// On one line, with sorted keys.
pub fn line(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            let inner: Vec<String> =
                keys.iter().map(|(key, value)| format!("{}: {}", quoted(key), line(value))).collect();
            format!("{{{}}}", inner.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(line).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A JSON string, which is a YAML string too.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn write(out: &mut String, value: &Value, depth: usize) {
    let short = line(value);
    let (open, close, children): (_, _, Vec<(Option<&String>, &Value)>) = match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<_> = map.iter().map(|(key, value)| (Some(key), value)).collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            ('{', '}', keys)
        }
        Value::Array(items) if !items.is_empty() => ('[', ']', items.iter().map(|item| (None, item)).collect()),
        _ => return out.push_str(&short),
    };
    if short.len() + 2 * depth <= LINE {
        return out.push_str(&short);
    }
    out.push(open);
    for (i, (key, child)) in children.iter().enumerate() {
        out.push_str(if i == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            out.push_str(&quoted(key));
            out.push_str(": ");
        }
        write(out, child, depth + 1);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
    out.push(close);
}
