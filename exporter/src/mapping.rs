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

use events::{EventName, Record, Severity, Status};

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

use Target::{Address, As, Both, Nanoseconds, Own, Placed};

/// The table, in the order in which events carry their keys. What is not named is [`Target::Own`].
pub const ROWS: &[Row] = &[
    own("schema_version"),
    own("event_id").ecs(As("event.id")).asim(As("EventOriginalUid")).otel(As("log.record.uid")),
    own("timestamp")
        .splunk(Placed("time"))
        .ecs(As("@timestamp"))
        .datadog(Placed("timestamp"))
        .asim(As("TimeGenerated"))
        .otel(Placed("time_unix_nano")),
    own("class").ecs(As("event.dataset")).datadog(As("evt.category")).asim(As("EventType")),
    own("event")
        .splunk(As("signature"))
        .ecs(As("event.action"))
        .datadog(As("evt.name"))
        .asim(As("EventOriginalType"))
        .otel(Placed("event_name")),
    own("severity"),
    own("pool.id"),
    own("pool.name"),
    own("pool.namespace"),
    own("cluster.id").ecs(As("orchestrator.cluster.id")),
    own("component.name").ecs(As("service.name")).otel(Placed("service.name")),
    own("component.version").ecs(As("service.version")).otel(As("service.version")),
    own("component.instance")
        .splunk(Placed("host"))
        .ecs(As("service.node.name"))
        .datadog(As("hostname"))
        .otel(As("service.instance.id")),
    own("component.seq").ecs(As("event.sequence")),
    own("message").splunk(As("description")).ecs(As("message")).datadog(As("message")).otel(Placed("body")),
    own("repeat.count").asim(As("EventCount")),
    own("repeat.request_ids"),
    own("truncated"),
    own("user.email")
        .splunk(As("user_email"))
        .ecs(As("user.email"))
        .datadog(As("usr.email"))
        .asim(As("ActorUsername"))
        .otel(As("user.email")),
    own("user.email_hash").ecs(As("user.hash")).otel(As("user.hash")),
    own("user.id")
        .splunk(Both("user", "user_id"))
        .ecs(As("user.id"))
        .datadog(As("usr.id"))
        .asim(As("ActorUserId"))
        .otel(As("user.id")),
    own("user.id_hash"),
    own("user.issuer"),
    own("user.issuer_hash"),
    own("user.groups").splunk(As("user_group")).ecs(As("user.group.name")),
    own("user.groups_hash"),
    own("user.department"),
    own("user.department_hash"),
    own("client.ip")
        .splunk(As("src"))
        .ecs(Address("client.ip"))
        .datadog(As("network.client.ip"))
        .asim(As("SrcIpAddr"))
        .otel(As("client.address")),
    own("client.ip_hash"),
    own("client.user_agent")
        .splunk(As("user_agent"))
        .ecs(As("user_agent.original"))
        .datadog(As("http.useragent"))
        .otel(As("user_agent.original")),
    own("client.user_agent_hash"),
    own("auth.method"),
    own("session.id").asim(As("EventSessionId")).otel(As("mcp.session.id")),
    own("session.id_hash"),
    own("agent.id").ecs(As("gen_ai.agent.id")).asim(As("SrcAgentId")).otel(As("gen_ai.agent.id")),
    own("agent.id_hash"),
    own("agent.name")
        .splunk(As("app"))
        .ecs(As("gen_ai.agent.name"))
        .asim(As("SrcAgentName"))
        .otel(As("gen_ai.agent.name")),
    own("agent.name_hash"),
    own("agent.version").otel(As("gen_ai.agent.version")),
    own("agent.model").asim(As("ModelName")),
    own("status"),
    own("action").splunk(As("action")),
    own("action.reason")
        .splunk(As("reason"))
        .ecs(As("event.reason"))
        .asim(As("EventErrorDetails"))
        .otel(As("gen_ai.guardrail.verdict.reason")),
    own("policy.name").ecs(As("rule.name")).otel(As("gen_ai.guardrail.security.policy.id")),
    own("policy.rule").otel(As("gen_ai.guardrail.security.policy.rule.id")),
    own("policy.evaluated"),
    own("policy.evaluation_ms"),
    own("tool.name").splunk(As("object")).ecs(As("gen_ai.tool.name")).asim(As("ToolName")).otel(As("gen_ai.tool.name")),
    own("mcp.server_name").splunk(As("dest")).asim(As("TargetAgentName")).otel(As("server.address")),
    own("mcp.method").otel(As("mcp.method.name")),
    own("tool.parameter_fields"),
    own("tool.parameter_unknown_count"),
    own("tool.parameters_hash").splunk(As("object_attrs")).otel(As("gen_ai.guardrail.security.content.input.hash")),
    own("tool.definition_hash"),
    own("request.id").ecs(As("http.request.id")).datadog(As("http.request_id")).asim(As("EventRequestId")),
    own("trace.id").ecs(As("trace.id")).otel(Placed("trace_id")),
    // CIM's Web.duration is in milliseconds.
    own("duration.total_ms").splunk(As("duration")).ecs(Nanoseconds("event.duration")).datadog(Nanoseconds("duration")),
    own("duration.upstream_ms"),
    own("http.status_code")
        .ecs(As("http.response.status_code"))
        .datadog(As("http.status_code"))
        .otel(As("http.response.status_code")),
    own("rpc.error_code").ecs(As("error.code")),
    own("request.bytes")
        .ecs(As("http.request.body.bytes"))
        .datadog(As("network.bytes_read"))
        .otel(As("http.request.body.size")),
    own("response.bytes")
        .ecs(As("http.response.body.bytes"))
        .datadog(As("network.bytes_written"))
        .otel(As("http.response.body.size")),
    own("cost.input_tokens")
        .ecs(As("gen_ai.usage.input_tokens"))
        .asim(As("InputTokensUsed"))
        .otel(As("gen_ai.usage.input_tokens")),
    own("cost.output_tokens")
        .ecs(As("gen_ai.usage.output_tokens"))
        .asim(As("OutputTokensUsed"))
        .otel(As("gen_ai.usage.output_tokens")),
    own("cost.usd"),
    own("cost.model").ecs(As("gen_ai.response.model")).otel(As("gen_ai.response.model")),
    own("auth.failure"),
    own("route.cause"),
    own("upstream.cause"),
    own("config.revision"),
    own("config.previous"),
    own("config.hash"),
    own("config.source"),
    own("dropped.count"),
    own("dropped.from"),
    own("dropped.to"),
    own("dropped.cause"),
    own("lifecycle.component"),
    own("lifecycle.transition"),
    own("scaling.component"),
    own("scaling.desired"),
    own("scaling.ready"),
    own("reconcile.kind"),
    own("reconcile.name"),
    own("reconcile.created"),
    own("reconcile.updated"),
    own("reconcile.deleted"),
    own("reconcile.unchanged"),
    own("reconcile.error"),
    own("phase.from"),
    own("phase.to"),
    own("phase.reason"),
    own("resource.kind"),
    own("resource.name"),
    own("resource.operation"),
    own("actor.manager"),
    own("destination.name"),
    own("destination.cause"),
    own("test.id"),
];

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

/// The default level of each severity (columns: debug, info, warn, error, critical) on each [`Platform`] (rows), which
/// a destination's `severityMap` overrides: the platform's word, and a number for the platforms that want one.
///
/// Splunk: `severity` of CIM Alerts. ECS: `log.level`, and for `event.severity`, whose scale is the source's own, 1 to
/// 5 with higher being worse. Datadog: `status`. ASIM: `EventSeverity`, which knows no more than High. OpenTelemetry:
/// severity text, which is the source's own word, and the lowest `SeverityNumber` of each range.
pub const LEVELS: [[(&str, i32); 5]; 5] = [
    [("informational", 0), ("informational", 0), ("medium", 0), ("high", 0), ("critical", 0)],
    [("debug", 1), ("info", 2), ("warn", 3), ("error", 4), ("critical", 5)],
    [("debug", 0), ("info", 0), ("warn", 0), ("error", 0), ("critical", 0)],
    [("Informational", 0), ("Informational", 0), ("Medium", 0), ("High", 0), ("High", 0)],
    [("debug", 5), ("info", 9), ("warn", 13), ("error", 17), ("critical", 21)],
];

/// The level of an event: the word of the destination's severity map, or the default. The number is that of the word
/// where the platform knows it, and otherwise that of the event's own severity.
#[must_use]
pub fn level(platform: Platform, severity: Severity, mapped: Option<&str>) -> (&str, i32) {
    let levels = LEVELS[platform as usize];
    let default = levels[match severity {
        Severity::Debug => 0,
        Severity::Info => 1,
        Severity::Warn => 2,
        Severity::Error => 3,
        Severity::Critical => 4,
    }];
    let Some(word) = mapped else { return default };
    let known = levels.iter().find(|(known, _)| known.eq_ignore_ascii_case(word));
    (word, known.map_or(default.1, |(_, number)| *number))
}

/// `event.outcome` of ECS and `evt.outcome` of Datadog: `success` or `failure`, where the event tells of an attempt.
#[must_use]
pub fn outcome(record: &Record) -> Option<&'static str> {
    match (record.event, record.status) {
        (_, Some(Status::Success)) => Some("success"),
        (_, Some(Status::Error | Status::Blocked | Status::RateLimited)) => Some("failure"),
        (EventName::ReconciliationComplete, None) => {
            Some(if record.reconcile_error.is_some() { "failure" } else { "success" })
        }
        (
            EventName::AuthDenied | EventName::UpstreamError | EventName::RouteNotFound | EventName::DestinationFailing,
            None,
        ) => Some("failure"),
        (EventName::DestinationRecovered, None) => Some("success"),
        (
            EventName::ToolCall
            | EventName::ConfigChange
            | EventName::EventsDropped
            | EventName::ComponentLifecycle
            | EventName::Scaling
            | EventName::PoolPhaseChanged
            | EventName::ResourceChanged
            | EventName::BacklogAtRisk
            | EventName::TestEvent,
            None,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

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

    #[test]
    fn every_severity_has_a_level_on_every_platform() {
        let texts = |platform: Platform| -> Vec<&str> {
            Severity::ALL.iter().map(|severity| level(platform, *severity, None).0).collect()
        };
        let numbers = |platform: Platform| -> Vec<i32> {
            Severity::ALL.iter().map(|severity| level(platform, *severity, None).1).collect()
        };
        assert_eq!(texts(Platform::Splunk), ["informational", "informational", "medium", "high", "critical"]);
        assert_eq!(texts(Platform::Datadog), ["debug", "info", "warn", "error", "critical"]);
        assert_eq!(texts(Platform::Asim), ["Informational", "Informational", "Medium", "High", "High"]);
        assert_eq!(texts(Platform::Ecs), ["debug", "info", "warn", "error", "critical"]);
        assert_eq!(texts(Platform::Otel), ["debug", "info", "warn", "error", "critical"]);
        assert_eq!(numbers(Platform::Ecs), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(Platform::Otel), [5, 9, 13, 17, 21]);
    }

    #[test]
    fn a_mapped_level_keeps_its_word_and_takes_the_number_of_a_word_that_is_known() {
        assert_eq!(level(Platform::Otel, Severity::Warn, Some("CRITICAL")), ("CRITICAL", 21));
        assert_eq!(level(Platform::Otel, Severity::Warn, Some("P1")), ("P1", 13));
        assert_eq!(level(Platform::Splunk, Severity::Warn, Some("high")), ("high", 0));
    }
}
