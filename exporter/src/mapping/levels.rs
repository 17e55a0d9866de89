//! What is derived of an event in a platform's own words: its level, and whether what it tells of went well.

use events::{EventName, Record, Severity, Status};

use super::Platform;

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
    use super::*;

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
