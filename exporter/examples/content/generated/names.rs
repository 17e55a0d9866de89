//! Where a canonical key is found on a platform, by the exporter's mapping, and of what type it is there.

use exporter::mapping::{Lookup, OWN_PREFIX, Platform, Row, Target};

/// The column of Sentinel that holds what has no column.
pub const ADDITIONAL: &str = "AdditionalFields";

/// Types of values, as far as platforms tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Text,
    Message,
    Integer,
    Real,
    Time,
    Address,
}

/// A key without counterpart, as it is written among such.
pub fn own(key: &str) -> String {
    key.replace('.', "_")
}

/// The names that a key's value has; more than one where it is written twice or goes elsewhere when it does not fit.
pub fn all(platform: Platform, key: &str) -> Vec<String> {
    let rest = || match platform {
        Platform::Asim => format!("{ADDITIONAL}.{}", own(key)),
        _ => format!("{OWN_PREFIX}.{}", own(key)),
    };
    match Lookup::new(platform).target(key) {
        Target::Own => vec![rest()],
        Target::As(name) | Target::Nanoseconds(name) => vec![name.to_owned()],
        Target::Both(one, other) => vec![one.to_owned(), other.to_owned()],
        Target::Address(name) => vec![name.to_owned(), rest()],
        Target::Placed(name) => vec![name.to_owned()],
    }
}

/// The name to search by.
pub fn name(platform: Platform, key: &str) -> String {
    all(platform, key).swap_remove(0)
}

/// The type of the value of a row: that of the schema, unless the platform's name says otherwise.
pub fn kind(platform: Platform, row: &Row) -> Type {
    match row.targets[platform as usize] {
        Target::Nanoseconds(_) => return Type::Integer,
        Target::Address(_) => return Type::Address,
        _ => {}
    }
    // What privacy adds to the schema is text.
    let schema = events::schema::schema();
    let property = &schema["properties"][row.key];
    let resolved = match property["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        Some(pointer) => schema.pointer(pointer).unwrap_or(property),
        None => property,
    };
    match (resolved["type"].as_str(), resolved["format"].as_str()) {
        (_, Some("date-time")) => Type::Time,
        (Some("integer"), _) => Type::Integer,
        (Some("number"), _) => Type::Real,
        _ if row.key == "message" => Type::Message,
        _ => Type::Text,
    }
}
