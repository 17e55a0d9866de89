//! Which events a destination of a SiemExport gets, at which level and into which index.
//!
//! Promises: pure; an event goes to a destination at most once, however many routes name it. Of several overrides for a
//! server the most specific one applies, and it applies instead of the routes.

use std::collections::BTreeMap;

use events::{Class, EventName, Record, Severity, Text};
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::destination::invalid::Invalid;
use crate::worker::Choice;

/// What a destination asks for, of its block in the SiemExport.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Wanted {
    /// Globs over names of events. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<String>>,
    /// Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
    /// The platform's level for a level of ours, or for an event, which wins.
    #[serde(default)]
    pub severity_map: BTreeMap<String, String>,
}

/// A route: what it matches goes to these destinations.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteSpec {
    /// What it matches; all of what is given must.
    #[serde(rename = "match")]
    pub matches: MatchSpec,
    /// Names of destinations of the same SiemExport.
    pub to: Vec<String>,
}

/// What a route matches. What is left out matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MatchSpec {
    /// As they are written in the SiemExport: `ToolActivity`, `Operational`, `Audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<ClassName>>,
    /// Globs over names of events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// Globs over names of MCP servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<Vec<String>>,
    /// The least severity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_severity: Option<Severity>,
}

/// A class, in the words of the SiemExport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[allow(missing_docs)]
pub enum ClassName {
    ToolActivity,
    Operational,
    Audit,
}

/// What is different for the events of one MCP server, or of those that a glob names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OverrideSpec {
    /// Name or glob.
    pub server: String,
    /// False: its events go nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Where its events go instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Vec<String>>,
    /// The index of Splunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub splunk_index: Option<String>,
}

/// The routes and overrides of one SiemExport, checked.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// `None`: everything goes everywhere.
    routes: Option<Vec<(Match, Vec<String>)>>,
    /// The most specific first.
    overrides: Vec<(Glob, OverrideSpec)>,
}

#[derive(Clone, Debug)]
struct Match {
    classes: Option<Vec<Class>>,
    names: Option<Vec<Glob>>,
    servers: Option<Vec<Glob>>,
    min_severity: Option<Severity>,
}

/// A pattern: `*` is any run of characters, `?` is one.
#[derive(Clone, Debug)]
struct Glob {
    pattern: WildMatch,
    /// Characters that stand for themselves, and whether all of them do.
    literal: usize,
    exact: bool,
}

impl Glob {
    fn new(text: &str) -> Self {
        let literal = text.chars().filter(|c| !matches!(c, '*' | '?')).count();
        Self { pattern: WildMatch::new(text), literal, exact: literal == text.chars().count() }
    }

    fn is(&self, text: &str) -> bool {
        self.pattern.matches(text)
    }
}

impl Routes {
    /// Checks them against the names of the export's destinations.
    ///
    /// # Errors
    /// A destination that does not exist, or a glob that matches no event.
    pub fn new(
        routes: Option<Vec<RouteSpec>>,
        overrides: Vec<OverrideSpec>,
        destinations: &[&str],
    ) -> Result<Self, Invalid> {
        let known = |field, to: &[String]| match to.iter().find(|name| !destinations.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => Err(Invalid::new(field, format!("there is no destination {name}"))),
        };
        let route = |RouteSpec { matches, to }: RouteSpec| {
            known("routes[].to", &to)?;
            Ok((Match::new(matches)?, to))
        };
        let routes = routes.map(|routes| routes.into_iter().map(route).collect::<Result<_, _>>()).transpose()?;
        let mut checked: Vec<(Glob, OverrideSpec)> = Vec::with_capacity(overrides.len());
        for spec in overrides {
            known("overrides[].to", spec.to.as_deref().unwrap_or_default())?;
            checked.push((Glob::new(&spec.server), spec));
        }
        // A name is more specific than a glob, and a longer glob than a shorter one; otherwise the first in the list.
        checked.sort_by_key(|(glob, _)| std::cmp::Reverse((glob.exact, glob.literal)));
        Ok(Self { routes, overrides: checked })
    }

    /// Whether an event goes to none of the export's destinations by its routes.
    #[must_use]
    pub fn is_unrouted(&self, record: &Record) -> bool {
        match self.override_of(record) {
            Some(found) if found.enabled == Some(false) || found.to.is_some() => false,
            _ => self.routes.as_ref().is_some_and(|routes| !routes.iter().any(|(matches, _)| matches.is(record))),
        }
    }

    fn goes_to(&self, record: &Record, destination: &str) -> bool {
        let names = |to: &[String]| to.iter().any(|name| name == destination);
        match self.override_of(record) {
            Some(OverrideSpec { enabled: Some(false), .. }) => false,
            Some(OverrideSpec { to: Some(to), .. }) => names(to),
            _ => match &self.routes {
                None => true,
                Some(routes) => routes.iter().any(|(matches, to)| names(to) && matches.is(record)),
            },
        }
    }

    fn override_of(&self, record: &Record) -> Option<&OverrideSpec> {
        let server = record.mcp_server_name.as_ref()?.as_str();
        self.overrides.iter().find(|(glob, _)| glob.is(server)).map(|(_, spec)| spec)
    }
}

impl Match {
    fn new(spec: MatchSpec) -> Result<Self, Invalid> {
        let class = |name: ClassName| match name {
            ClassName::ToolActivity => Class::ToolActivity,
            ClassName::Operational => Class::Operational,
            ClassName::Audit => Class::Audit,
        };
        Ok(Self {
            classes: spec.classes.map(|classes| classes.into_iter().map(class).collect()),
            names: spec.names.map(|names| event_globs("routes[].match.names", &names)).transpose()?,
            servers: spec.servers.map(|servers| servers.iter().map(|text| Glob::new(text)).collect()),
            min_severity: spec.min_severity,
        })
    }

    fn is(&self, record: &Record) -> bool {
        let server = || record.mcp_server_name.as_ref().map(Text::as_str);
        self.classes.as_ref().is_none_or(|classes| classes.contains(&record.class))
            && self.names.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.is(record.event.as_str())))
            && self.servers.as_ref().is_none_or(|globs| server().is_some_and(|name| globs.iter().any(|g| g.is(name))))
            && self.min_severity.is_none_or(|least| record.severity >= least)
    }
}

fn event_globs(field: &'static str, patterns: &[String]) -> Result<Vec<Glob>, Invalid> {
    let globs: Vec<Glob> = patterns.iter().map(|text| Glob::new(text)).collect();
    let names_nothing = |glob: &Glob| !EventName::ALL.iter().any(|name| glob.is(name.as_str()));
    match globs.iter().position(names_nothing) {
        None => Ok(globs),
        Some(at) => Err(Invalid::new(field, format!("{:?} matches no event of the catalogue", patterns[at]))),
    }
}

/// Chooses the events of one destination.
#[derive(Clone, Debug)]
pub struct Selection {
    destination: String,
    events: Option<Vec<Glob>>,
    min_severity: Option<Severity>,
    severity_map: BTreeMap<String, String>,
    routes: std::sync::Arc<Routes>,
}

impl Selection {
    /// For the destination with this name.
    ///
    /// # Errors
    /// A glob that matches no event, or a key of the severity map that is neither a level nor an event.
    pub fn new(destination: &str, wanted: Wanted, routes: std::sync::Arc<Routes>) -> Result<Self, Invalid> {
        let is_level = |key: &str| Severity::ALL.iter().any(|level| level.as_str() == key);
        let is_event = |key: &str| EventName::ALL.iter().any(|name| name.as_str() == key);
        if let Some(key) = wanted.severity_map.keys().find(|key| !is_level(key) && !is_event(key)) {
            return Err(Invalid::new("severityMap", format!("{key:?} is neither a level nor an event")));
        }
        Ok(Self {
            destination: destination.to_owned(),
            events: wanted.events.map(|events| event_globs("events", &events)).transpose()?,
            min_severity: wanted.min_severity,
            severity_map: wanted.severity_map,
            routes,
        })
    }

    /// What the destination wants of an event; `None`: nothing.
    #[must_use]
    pub fn choose(&self, record: &Record) -> Option<Choice> {
        let named = self.events.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.is(record.event.as_str())));
        let severe = self.min_severity.is_none_or(|least| record.severity >= least);
        if !(named && severe && self.routes.goes_to(record, &self.destination)) {
            return None;
        }
        let map = &self.severity_map;
        let level = map.get(record.event.as_str()).or_else(|| map.get(record.severity.as_str())).cloned();
        let index = self.routes.override_of(record).and_then(|found| found.splunk_index.clone());
        Some(Choice { level, index })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    const CALL: &str = include_str!("../../events/samples/tool_call.minimal.json");
    const DENIED: &str = include_str!("../../events/samples/auth_denied.json");

    fn record(sample: &str, server: Option<&str>) -> Record {
        let mut event: Value = serde_json::from_str(sample).unwrap();
        match server {
            Some(server) => event["mcp.server_name"] = server.into(),
            None => drop(event.as_object_mut().unwrap().remove("mcp.server_name")),
        }
        Record::from_json(event.to_string().as_bytes()).unwrap()
    }

    fn routes(routes: Value, overrides: Value) -> Result<Arc<Routes>, Invalid> {
        let (routes, overrides) = (serde_json::from_value(routes).unwrap(), serde_json::from_value(overrides).unwrap());
        Routes::new(routes, overrides, &["soc", "archive"]).map(Arc::new)
    }

    fn select(destination: &str, wanted: Value, routes: &Arc<Routes>) -> Selection {
        Selection::new(destination, serde_json::from_value(wanted).unwrap(), routes.clone()).unwrap()
    }

    #[test]
    fn without_routes_everything_goes_everywhere() {
        let all = routes(json!(null), json!([])).unwrap();
        for sample in [CALL, DENIED] {
            assert_eq!(select("soc", json!({}), &all).choose(&record(sample, None)), Some(Choice::default()));
            assert!(!all.is_unrouted(&record(sample, None)));
        }
    }

    #[test]
    fn every_route_that_matches_applies_and_what_none_takes_is_unrouted() {
        let some = routes(
            json!([
                {"match": {"classes": ["ToolActivity"], "servers": ["pay*"]}, "to": ["soc"]},
                {"match": {"names": ["auth_*"], "minSeverity": "warn"}, "to": ["soc", "archive"]},
                {"match": {"names": ["*_denied"]}, "to": ["archive"]},
            ]),
            json!([]),
        )
        .unwrap();
        let goes = |destination: &str, record: &Record| select(destination, json!({}), &some).choose(record).is_some();
        let (paid, other, denied) = (record(CALL, Some("payments")), record(CALL, Some("crm")), record(DENIED, None));
        assert!(goes("soc", &paid) && !goes("archive", &paid));
        assert!(!goes("soc", &other) && !goes("archive", &other));
        assert!(goes("soc", &denied) && goes("archive", &denied));
        assert!(some.is_unrouted(&other) && !some.is_unrouted(&paid));
    }

    #[test]
    fn the_most_specific_override_applies_instead_of_the_routes() {
        let some = routes(
            json!([{"match": {}, "to": ["soc", "archive"]}]),
            json!([
                {"server": "*", "splunkIndex": "all"},
                {"server": "pay*", "to": ["archive"]},
                {"server": "payments", "to": ["soc"], "splunkIndex": "pci"},
                {"server": "sandbox", "enabled": false},
            ]),
        )
        .unwrap();
        let choose = |destination: &str, server: Option<&str>| {
            select(destination, json!({}), &some).choose(&record(CALL, server)).map(|choice| choice.index)
        };
        assert_eq!(choose("soc", Some("payments")), Some(Some("pci".into())));
        assert_eq!(choose("archive", Some("payments")), None);
        assert_eq!((choose("soc", Some("payroll")), choose("archive", Some("payroll"))), (None, Some(None)));
        assert_eq!(choose("soc", Some("crm")), Some(Some("all".into())));
        assert_eq!((choose("soc", Some("sandbox")), choose("archive", Some("sandbox"))), (None, None));
        // An event without a server has no override.
        assert_eq!(choose("soc", None), Some(None));
    }

    #[test]
    fn a_destination_narrows_what_the_routes_give_it_and_names_its_levels() {
        let all = routes(json!(null), json!([])).unwrap();
        let (call, denied) = (record(CALL, Some("crm")), record(DENIED, None));
        let severe = select("soc", json!({"minSeverity": "warn"}), &all);
        assert!(severe.choose(&call).is_none() && severe.choose(&denied).is_some());
        let calls = select("soc", json!({"events": ["tool_*"]}), &all);
        assert!(calls.choose(&call).is_some() && calls.choose(&denied).is_none());
        let map = select("soc", json!({"severityMap": {"warn": "high", "info": "low", "tool_call": "notice"}}), &all);
        assert_eq!(map.choose(&call).unwrap().level.as_deref(), Some("notice"), "the event wins over its level");
        assert_eq!(map.choose(&denied).unwrap().level.as_deref(), Some("high"));
    }

    #[test]
    fn what_can_never_apply_is_refused_by_its_field() {
        let refused = |result: Result<_, Invalid>| result.map(|_| ()).unwrap_err().to_string();
        let unknown = routes(json!([{"match": {}, "to": ["nobody"]}]), json!([]));
        assert_eq!(refused(unknown.map(drop)), "routes[].to: there is no destination nobody");
        let unknown = routes(json!(null), json!([{"server": "a", "to": ["nobody"]}]));
        assert_eq!(refused(unknown.map(drop)), "overrides[].to: there is no destination nobody");
        let nothing = routes(json!([{"match": {"names": ["tool_cal"]}, "to": ["soc"]}]), json!([]));
        assert_eq!(refused(nothing.map(drop)), "routes[].match.names: \"tool_cal\" matches no event of the catalogue");
        let all = routes(json!(null), json!([])).unwrap();
        for (wanted, field) in
            [(json!({"events": ["x*"]}), "events"), (json!({"severityMap": {"loud": "1"}}), "severityMap")]
        {
            let wanted = serde_json::from_value(wanted).unwrap();
            assert_eq!(Selection::new("soc", wanted, all.clone()).unwrap_err().field, field);
        }
    }
}
