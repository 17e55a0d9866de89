//! For Datadog: a pipeline, monitors, a dashboard.
//!
//! Sources: Datadog API v1, logs pipelines, monitors of the type `log alert`, dashboards; log search syntax.

use exporter::mapping::Platform;
use serde_json::{Value, json};

use super::names::name;
use super::source::{ALERTS, Alert, Draw, Filter, Is, Level, PANELS, Panel, Subject, TOP, Trigger};
use super::text::pretty;

/// `ddsource` of events where the destination sets no other.
pub const SOURCE: &str = "ai-gateway";

fn attribute(key: &str) -> String {
    name(Platform::Datadog, key)
}

/// In a search, attributes have an at sign.
fn facet(key: &str) -> String {
    format!("@{}", attribute(key))
}

/// Where the pipeline puts whoever called.
pub const PRINCIPAL: &str = "ai_gateway.principal";

fn subject(subject: Subject) -> String {
    match subject {
        Subject::Principal => format!("@{PRINCIPAL}"),
        Subject::Address => facet(subject.keys()[0]),
    }
}

/// As one writes it in the search bar.
pub fn query(filter: Filter) -> String {
    let condition = |(key, values): &Is| match values {
        [one] => format!("{}:{one}", facet(key)),
        many => format!("{}:({})", facet(key), many.join(" OR ")),
    };
    let group = |group: &&[Is]| group.iter().map(condition).collect::<Vec<_>>().join(" ");
    match filter {
        [one] => format!("source:{SOURCE} {}", group(one)),
        many => {
            let groups: Vec<String> = many.iter().map(|one| format!("({})", group(one))).collect();
            format!("source:{SOURCE} ({})", groups.join(" OR "))
        }
    }
}

fn monitor(alert: &Alert) -> Value {
    let least = match alert.trigger {
        Trigger::Count(least) => least,
        Trigger::Unusual { fixed, .. } => fixed,
    };
    // Datadog counts its windows in hours from 60 minutes on.
    let window = if alert.window_minutes < 60 {
        format!("{}m", alert.window_minutes)
    } else {
        format!("{}h", alert.window_minutes / 60)
    };
    let priority = match alert.level {
        Level::High => 2,
        Level::Medium => 3,
    };
    let (group, search) = (subject(alert.subject), query(alert.filter));
    let count =
        format!("logs(\"{search}\").index(\"*\").rollup(\"count\").by(\"{group}\").last(\"{window}\") >= {least}");
    json!({
        "name": format!("AI Gateway: {} of {{{{[{group}].name}}}}", alert.title.to_lowercase()),
        "type": "log alert",
        "query": count,
        "message": format!("{}\n\nSearch: `{search}`\n\n@your-team", alert.description),
        "priority": priority,
        "tags": ["product:ai-gateway", format!("alert:{}", alert.id)],
        "options": {
            "thresholds": {"critical": least},
            "enable_logs_sample": true,
            "groupby_simple_monitor": false,
            "include_tags": true,
            "notify_audit": false,
            "on_missing_data": "default",
            "renotify_interval": 0,
        },
    })
}

fn widget(panel: &Panel) -> Value {
    let group = |facet: String, aggregation: &str, metric: Option<String>| {
        let mut sort = json!({"aggregation": aggregation, "order": "desc"});
        if let Some(metric) = metric {
            sort["metric"] = metric.into();
        }
        json!({"facet": facet, "limit": TOP, "sort": sort})
    };
    let (kind, format, compute, groups) = match panel.draw {
        Draw::OverTime(by) => {
            ("timeseries", "timeseries", json!({"aggregation": "count"}), vec![group(facet(by), "count", None)])
        }
        Draw::Top(by) => (
            "toplist",
            "scalar",
            json!({"aggregation": "count"}),
            by.iter().map(|key| group(facet(key), "count", None)).collect(),
        ),
        Draw::Principals => (
            "toplist",
            "scalar",
            json!({"aggregation": "count"}),
            vec![group(subject(Subject::Principal), "count", None)],
        ),
        Draw::Percentile(of, by) => (
            "toplist",
            "scalar",
            json!({"aggregation": "pc95", "metric": facet(of)}),
            by.iter().map(|key| group(facet(key), "pc95", Some(facet(of)))).collect(),
        ),
    };
    let mut request = json!({
        "response_format": format,
        "queries": [{
            "data_source": "logs", "name": "events", "indexes": ["*"], "search": {"query": query(panel.filter)},
            "compute": compute, "group_by": groups,
        }],
        "formulas": [{"formula": "events"}],
    });
    if kind == "timeseries" {
        request["display_type"] = "bars".into();
    }
    json!({"definition": {"title": panel.title, "type": kind, "requests": [request]}})
}

fn pipeline() -> Value {
    let remap = |kind: &str, title: &str, sources: &[String]| json!({"type": kind, "name": title, "is_enabled": true, "sources": sources});
    let principal: Vec<String> = Subject::Principal.keys().iter().map(|key| attribute(key)).collect();
    let (address, agent) = (attribute("client.ip"), attribute("client.user_agent"));
    json!({
        "name": "AI Gateway",
        "is_enabled": true,
        "filter": {"query": format!("source:{SOURCE}")},
        "processors": [
            remap("date-remapper", "The time of the event", &["timestamp".to_owned()]),
            remap("status-remapper", "The severity of the event", &["status".to_owned()]),
            remap("message-remapper", "The sentence of the event", &[attribute("message")]),
            remap("trace-id-remapper", "The W3C trace id", &[attribute("trace.id")]),
            {
                "type": "attribute-remapper", "name": "Whoever called, by the first name that is there", "is_enabled": true,
                "sources": principal, "source_type": "attribute", "target": PRINCIPAL, "target_type": "attribute",
                "preserve_source": true, "override_on_conflict": false,
            },
            {
                "type": "geo-ip-parser", "name": "Where the caller is", "is_enabled": true,
                "sources": [address], "target": "network.client.geoip",
            },
            {
                "type": "user-agent-parser", "name": "What the caller uses", "is_enabled": true,
                "is_encoded": false, "sources": [agent], "target": "http.useragent_details",
            },
        ],
    })
}

/// The files.
pub fn files() -> Vec<(String, String)> {
    let dashboard = json!({
        "title": "AI Gateway",
        "description": "Audit events of MCP tool calls",
        "layout_type": "ordered",
        "widgets": PANELS.iter().map(widget).collect::<Vec<_>>(),
    });
    let mut files =
        vec![("pipeline.json".to_owned(), pretty(&pipeline())), ("dashboard.json".to_owned(), pretty(&dashboard))];
    files.extend(ALERTS.iter().map(|alert| (format!("monitors/{}.json", alert.id), pretty(&monitor(alert)))));
    files
}
