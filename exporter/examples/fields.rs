//! Writes the reference pages that are made from code into a folder: `fields.md`, the names of every key on every
//! platform, and `events.md`, the catalogue of events with their keys.
//!
//! Must never say anything that is not in the mapping, in the catalogue or in the schema.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;
use std::{env, fs, io};

use events::schema::{file_name, schema};
use events::{EventName, limits};
use exporter::mapping::{LEVELS, OWN_PREFIX, ROWS, Row, Target};
use serde_json::Value;

/// The first line of both pages.
const MARK: &str = "<!-- Made by `make generate` from the code; do not edit. -->\n\n";
/// The columns, in the order of [`exporter::mapping::Platform`].
const PLATFORMS: [&str; 5] = ["Splunk (CIM)", "Elasticsearch (ECS)", "Datadog", "Sentinel (ASIM)", "OTLP, Coralogix"];

fn main() -> io::Result<()> {
    let folder = env::args().nth(1).ok_or_else(|| io::Error::other("usage: fields FOLDER"))?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    fs::write(folder.join("fields.md"), fields().map_err(io::Error::other)?)?;
    fs::write(folder.join("events.md"), events().map_err(io::Error::other)?)
}

fn fields() -> Result<String, fmt::Error> {
    let mut out = String::from(MARK);
    writeln!(out, "# Names of the keys on each platform\n")?;
    writeln!(
        out,
        "What each key of an [event](events.md) is called where a platform has a schema of its own. `syslog`, `eventBridge`, \
         `sumoLogic`, `webhook` and `stdout` get the keys as they are in the first column (CEF over `syslog` apart: see \
         [siem/syslog.md](../siem/syslog.md)).\n"
    )?;
    writeln!(
        out,
        "Without a name of the platform's own, a key goes where the platform has room for such: \
         `{OWN_PREFIX}.KEY` (a field of the object `{OWN_PREFIX}`, for OTLP an attribute), for Sentinel the column `AdditionalFields`. \
         Its dots become underscores there. *ns* is nanoseconds; *record* is a place of the platform's own outside of the fields.\n"
    )?;
    writeln!(out, "| key | {} |", PLATFORMS.join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(PLATFORMS.len()))?;
    for Row { key, targets } in ROWS {
        write!(out, "| `{key}` |")?;
        for (target, platform) in targets.iter().zip(PLATFORMS) {
            write!(out, " {} |", cell(key, *target, platform))?;
        }
        writeln!(out)?;
    }
    writeln!(out, "\n## Levels\n")?;
    writeln!(
        out,
        "The default level of each severity, which a destination's `severityMap` overrides; in parentheses the number for \
         platforms that want one.\n"
    )?;
    let severities = events::Severity::ALL.iter().map(|severity| format!("`{}`", severity.as_str()));
    writeln!(out, "| platform | {} |", severities.collect::<Vec<_>>().join(" | "))?;
    writeln!(out, "|---|{}", "---|".repeat(events::Severity::ALL.len()))?;
    for (platform, levels) in PLATFORMS.iter().zip(LEVELS) {
        let words = levels.map(|(word, number)| match number {
            0 => format!("`{word}`"),
            _ => format!("`{word}` ({number})"),
        });
        writeln!(out, "| {platform} | {} |", words.join(" | "))?;
    }
    Ok(out)
}

fn cell(key: &str, target: Target, platform: &str) -> String {
    match target {
        Target::Own if platform.starts_with("Sentinel") => format!("`AdditionalFields.{}`", key.replace('.', "_")),
        Target::Own => format!("`{OWN_PREFIX}.{}`", key.replace('.', "_")),
        Target::As(name) => format!("`{name}`"),
        Target::Both(one, other) => format!("`{one}`, `{other}`"),
        Target::Nanoseconds(name) => format!("`{name}` (ns)"),
        Target::Address(name) => format!("`{name}`, if it is an address"),
        Target::Placed(name) => format!("`{name}` (record)"),
    }
}

fn events() -> Result<String, fmt::Error> {
    let schema = schema();
    let properties = &schema["properties"];
    let mut out = String::from(MARK);
    writeln!(out, "# Events\n")?;
    writeln!(
        out,
        "Every event of schema version {}, with its keys. The JSON Schema is `events/schema/{}`; an example of each event is in \
         `events/samples/`. [audit-events.md](../audit-events.md) says how to read them.\n",
        events::SCHEMA_VERSION,
        file_name()
    )?;
    writeln!(out, "| event | class | severity | what happened |\n|---|---|---|---|")?;
    let described = descriptions(&properties["event"]);
    for event in EventName::ALL {
        let severities: Vec<&str> = event.severities().iter().map(|severity| severity.as_str()).collect();
        let what = described.get(event.as_str()).map_or("", String::as_str);
        writeln!(out, "| `{}` | {} | {} | {what} |", event.as_str(), event.class().as_str(), severities.join(", "))?;
    }
    writeln!(out, "\n## Keys of each event\n\nBeside those that every event has:\n")?;
    writeln!(out, "| event | always | where known |\n|---|---|---|")?;
    for event in EventName::ALL {
        let always = event.required().iter().copied();
        writeln!(out, "| `{}` | {} | {} |", event.as_str(), quoted(always), quoted(event.optional()))?;
    }
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    writeln!(out, "\nEvery event has {}.", quoted(required.into_iter()))?;
    writeln!(out, "\n## Keys\n\n| key | type | meaning |\n|---|---|---|")?;
    for key in events::Record::KEYS {
        let property = &properties[*key];
        let meaning = property["description"].as_str().unwrap_or_default();
        writeln!(out, "| `{key}` | {} | {meaning} |", kind(&schema, property))?;
    }
    Ok(out)
}

fn quoted<'a>(keys: impl Iterator<Item = &'a str>) -> String {
    keys.map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" ")
}

/// The values of a vocabulary with what they mean, where that is said.
fn descriptions(property: &Value) -> BTreeMap<String, String> {
    let choices = property["oneOf"].as_array().into_iter().flatten();
    let described = |choice: &Value| {
        Some((choice["const"].as_str()?.to_owned(), choice["description"].as_str().unwrap_or_default().to_owned()))
    };
    choices.filter_map(described).collect()
}

/// The type of a key with its limits.
fn kind(schema: &Value, property: &Value) -> String {
    let resolved = match property["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        Some(name) => &schema["$defs"][name],
        None => property,
    };
    if let Some(value) = property["const"].as_str() {
        return format!("`{value}`");
    }
    let one_of = property["oneOf"].as_array().into_iter().flatten();
    let words = one_of.flat_map(words).chain(words(property)).collect::<Vec<_>>();
    if !words.is_empty() {
        return words.join(" ");
    }
    if property["type"] == "array" {
        let most = property["maxItems"].as_u64().map_or_else(String::new, |most| format!(", at most {most}"));
        return format!("list of strings{most}");
    }
    // What the pattern and the length of these types say less well.
    match property["$ref"].as_str() {
        Some("#/$defs/Text") => return format!("string, at most {} bytes", limits::TEXT_BYTES),
        Some("#/$defs/Millis") => return "number: milliseconds, 3 decimals".to_owned(),
        Some("#/$defs/Moment") => return "string: RFC 3339, UTC, milliseconds".to_owned(),
        _ => {}
    }
    let kind = resolved["type"].as_str().unwrap_or("string");
    let least = resolved["minimum"].as_f64().filter(|least| *least > 0.0);
    match (least, resolved["maximum"].as_f64(), resolved["maxLength"].as_u64()) {
        (Some(least), Some(most), _) => format!("{kind}, {least} to {most}"),
        (_, _, Some(most)) => format!("{kind}, at most {most} characters"),
        _ => kind.to_owned(),
    }
}

fn words(choice: &Value) -> Vec<String> {
    let listed = choice["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    listed.chain(choice["const"].as_str()).map(|word| format!("`{word}`")).collect()
}
