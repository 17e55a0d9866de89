//! What each key of an event is called on each platform that has a schema of its own.
//!
//! Promises: every key of [`Record::KEYS`](events::Record::KEYS) and every key that privacy writes for a hashed value
//! has a row; a key without a row (of a later minor version of the schema) goes where keys without a counterpart go, so
//! nothing is lost by being unknown. Values do not change, but for durations where a platform counts in nanoseconds.
//! What a platform wants in its own words (a level, an outcome) is derived beside the value and never instead of it.
//!
//! Must never put a hash into a field that is for addresses or names: a hashed value has a key, and so a row, of its
//! own.
//!
//! Sources: Splunk CIM 5.x models Data_Access, Alerts, Web · Elastic Common Schema 9.x · Datadog standard attributes ·
//! Microsoft ASIM AgentEvent 1.0.0 · OpenTelemetry semantic conventions, GenAI and MCP (Development: they still
//! change).

mod levels;
mod rows;

pub use levels::{LEVELS, level, outcome};
pub use rows::ROWS;

use Target::Own;

/// Before the names of what has no counterpart.
pub const OWN_PREFIX: &str = "ai_gateway";

/// A schema that events are renamed to; the order is that of [`Row::targets`] and of [`LEVELS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Splunk's Common Information Model. Flat.
    Splunk,
    /// Elastic Common Schema. Nested.
    Ecs,
    /// Datadog's standard attributes. Nested.
    Datadog,
    /// ASIM AgentEvent, the schema of Sentinel. Columns, and `AdditionalFields` for the rest.
    Asim,
    /// OpenTelemetry's semantic conventions. Flat attributes.
    Otel,
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// No counterpart: under [`OWN_PREFIX`], or in the platform's place for such. The dots of the key become
    /// underscores there, because `action` and `action.reason` can not both live in a nested document.
    Own,
    /// Under this name.
    As(&'static str),
    /// Under both names.
    Both(&'static str, &'static str),
    /// From milliseconds to whole nanoseconds, under this name.
    Nanoseconds(&'static str),
    /// Under this name if it is an IP address; the platform refuses anything else there, so that is [`Target::Own`].
    Address(&'static str),
    /// The platform has a place for it outside of the attributes, named here; its shape fills it.
    Placed(&'static str),
}

/// One key on every platform.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The canonical key.
    pub key: &'static str,
    /// By [`Platform`].
    pub targets: [Target; 5],
}

/// A key that has no counterpart, but for those platforms that follow.
const fn own(key: &'static str) -> Row {
    Row { key, targets: [Own; 5] }
}

impl Row {
    const fn on(mut self, platform: Platform, target: Target) -> Self {
        self.targets[platform as usize] = target;
        self
    }

    const fn splunk(self, target: Target) -> Self {
        self.on(Platform::Splunk, target)
    }

    const fn ecs(self, target: Target) -> Self {
        self.on(Platform::Ecs, target)
    }

    const fn datadog(self, target: Target) -> Self {
        self.on(Platform::Datadog, target)
    }

    const fn asim(self, target: Target) -> Self {
        self.on(Platform::Asim, target)
    }

    const fn otel(self, target: Target) -> Self {
        self.on(Platform::Otel, target)
    }
}

/// The keys whose values identify somebody, so that privacy may hash them; each has a row for its hash.
pub const HASHED: [&str; 10] = [
    "user.email",
    "user.id",
    "user.issuer",
    "user.groups",
    "user.department",
    "client.ip",
    "client.user_agent",
    "session.id",
    "agent.id",
    "agent.name",
];

/// Finds the rows of the keys of one event.
#[derive(Debug)]
pub struct Lookup {
    platform: usize,
    /// Events carry their keys in the order of the table, so the search goes on where the last one ended.
    next: usize,
}

impl Lookup {
    /// For one event on this platform.
    #[must_use]
    pub fn new(platform: Platform) -> Self {
        Self { platform: platform as usize, next: 0 }
    }

    /// Where the value of `key` goes.
    pub fn target(&mut self, key: &str) -> Target {
        let found = ROWS[self.next..].iter().position(|row| row.key == key).map(|i| self.next + i);
        let Some(i) = found.or_else(|| ROWS[..self.next].iter().position(|row| row.key == key)) else { return Own };
        self.next = i + 1;
        ROWS[i].targets[self.platform]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use events::Record;

    use super::Target::{Address, As, Both, Nanoseconds, Placed};
    use super::*;

    const PLATFORMS: [Platform; 5] =
        [Platform::Splunk, Platform::Ecs, Platform::Datadog, Platform::Asim, Platform::Otel];

    fn names(target: Target) -> Vec<&'static str> {
        match target {
            Own => vec![],
            As(name) | Nanoseconds(name) | Address(name) | Placed(name) => vec![name],
            Both(one, other) => vec![one, other],
        }
    }

    #[test]
    fn every_key_of_the_schema_has_exactly_one_row_in_the_order_of_the_schema() {
        let own: Vec<&str> = ROWS.iter().map(|row| row.key).filter(|key| !key.ends_with("_hash")).collect();
        let keys: Vec<&str> = Record::KEYS.iter().copied().filter(|key| !key.ends_with("_hash")).collect();
        assert_eq!(own, keys);
        let all: BTreeSet<&str> = ROWS.iter().map(|row| row.key).collect();
        assert_eq!(all.len(), ROWS.len());
        for key in Record::KEYS {
            assert!(all.contains(key), "{key} is in no row");
        }
    }

    #[test]
    fn every_value_that_may_be_hashed_has_a_row_for_its_hash_that_no_address_or_name_field_takes() {
        for key in HASHED {
            let hashed = format!("{key}_hash");
            let row = ROWS.iter().find(|row| row.key == hashed).unwrap_or_else(|| panic!("{hashed} is in no row"));
            let plain = ROWS.iter().find(|row| row.key == key).unwrap();
            for (hash, plain) in row.targets.iter().zip(plain.targets) {
                assert!(*hash == Own || (names(*hash) == ["user.hash"] && *hash != plain), "{hashed}: {hash:?}");
            }
        }
    }

    #[test]
    fn no_two_keys_share_a_name_and_no_name_is_also_a_parent_of_another() {
        for platform in PLATFORMS {
            let names: Vec<&str> = ROWS.iter().flat_map(|row| names(row.targets[platform as usize])).collect();
            let unique: BTreeSet<&str> = names.iter().copied().collect();
            assert_eq!(unique.len(), names.len(), "{platform:?}");
            for name in &names {
                assert!(!name.starts_with(OWN_PREFIX));
                let children = format!("{name}.");
                let nested = matches!(platform, Platform::Ecs | Platform::Datadog);
                assert!(!nested || !names.iter().any(|other| other.starts_with(&children)), "{platform:?} {name}");
            }
        }
        let own: BTreeSet<String> = ROWS.iter().map(|row| row.key.replace('.', "_")).collect();
        assert_eq!(own.len(), ROWS.len(), "two keys would have one name under {OWN_PREFIX}");
    }

    #[test]
    fn every_sentinel_name_is_a_column_of_agent_event() {
        // Those of vimAgentEventEmpty 1.0.0 that are used, and the two that every ASIM table has.
        let columns = [
            "TimeGenerated",
            "EventOriginalUid",
            "EventType",
            "EventOriginalType",
            "EventCount",
            "ActorUsername",
            "ActorUserId",
            "SrcIpAddr",
            "EventSessionId",
            "SrcAgentId",
            "SrcAgentName",
            "ModelName",
            "EventErrorDetails",
            "ToolName",
            "TargetAgentName",
            "EventRequestId",
            "InputTokensUsed",
            "OutputTokensUsed",
        ];
        for row in ROWS {
            for name in names(row.targets[Platform::Asim as usize]) {
                assert!(columns.contains(&name), "{name}");
            }
        }
    }

    #[test]
    fn lookup_finds_every_row_in_any_order_and_what_has_none_is_own() {
        for platform in PLATFORMS {
            let (mut forth, mut back) = (Lookup::new(platform), Lookup::new(platform));
            for row in ROWS {
                assert_eq!(forth.target(row.key), row.targets[platform as usize]);
                assert_eq!(forth.target("later.key"), Own);
            }
            for row in ROWS.iter().rev() {
                assert_eq!(back.target(row.key), row.targets[platform as usize]);
            }
        }
    }
}
