//! An app for Splunk: field extraction, CIM event types and tags, alerts, a dashboard.
//!
//! Sources: Splunk documentation "props.conf", "eventtypes.conf", "tags.conf", "savedsearches.conf", Simple XML
//! reference; Common Information Model 5.x, data sets Data_Access, Authentication and Alerts.

use exporter::mapping::Platform;

use super::names::name;
use super::source::{ALERTS, Alert, Draw, Filter, Level, PANELS, Panel, Subject, TOP, Trigger};

/// The folder of the app, which is its id.
pub const APP: &str = "ai_gateway";
/// `sourcetype` of events where the destination sets no other.
pub const SOURCETYPE: &str = "aigateway:event";

fn field(key: &str) -> String {
    name(Platform::Splunk, key)
}

/// For `eval` and `where`, where a dot would join two fields.
fn evaluated(key: &str) -> String {
    format!("'{}'", field(key))
}

/// For the first command of a search.
pub fn filter(filter: Filter) -> String {
    let groups: Vec<String> = filter
        .iter()
        .map(|group| {
            let conditions: Vec<String> = group
                .iter()
                .map(|(key, values)| match values {
                    [one] => format!("{}={one}", field(key)),
                    many => format!("{} IN ({})", field(key), many.join(", ")),
                })
                .collect();
            conditions.join(" ")
        })
        .collect();
    match groups.as_slice() {
        [one] => one.clone(),
        many => format!("(({}))", many.join(") OR (")),
    }
}

/// Joined events stand for as many as they say.
fn weight() -> String {
    format!("eval weight=coalesce({}, 1)", evaluated("repeat.count"))
}

fn subject(subject: Subject) -> String {
    let keys: Vec<String> = subject.keys().iter().map(|key| evaluated(key)).collect();
    format!("subject=coalesce({})", keys.join(", "))
}

fn search(alert: &Alert) -> String {
    let details: Vec<String> =
        alert.details.iter().map(|key| format!("values({}) AS {}", field(key), key.replace('.', "_"))).collect();
    let head = format!("`{APP}` {} | {}, {}", filter(alert.filter), weight(), subject(alert.subject));
    match alert.trigger {
        Trigger::Count(least) => {
            format!("{head} | stats sum(weight) AS events {} BY subject | where events >= {least}", details.join(" "))
        }
        Trigger::Unusual { least, .. } => format!(
            "{head} | bin _time span={}m | stats sum(weight) AS events {} BY _time subject \
             | eval latest=if(_time >= relative_time(now(), \"-1h@h\"), 1, 0), before=if(latest=1, null(), events) \
             | eventstats avg(before) AS mean stdev(before) AS deviation BY subject \
             | fillnull value=0 mean deviation \
             | where latest=1 AND events >= {least} AND events > mean + 3 * deviation",
            alert.window_minutes,
            details.join(" ")
        ),
    }
}

fn saved_search(alert: &Alert) -> String {
    let (cron, earliest, latest) = match alert.trigger {
        Trigger::Count(_) => {
            (format!("*/{} * * * *", alert.window_minutes), format!("-{}m@m", alert.window_minutes), "@m")
        }
        Trigger::Unusual { .. } => ("5 * * * *".into(), "-7d@h".into(), "@h"),
    };
    // savedsearches.conf: 3 is warning, 4 is error.
    let severity = match alert.level {
        Level::Medium => 3,
        Level::High => 4,
    };
    format!(
        "\n[AI Gateway - {}]\ndescription = {}\nsearch = {}\ndispatch.earliest_time = {earliest}\n\
         dispatch.latest_time = {latest}\ncron_schedule = {cron}\nenableSched = 1\ncounttype = number of events\n\
         relation = greater than\nquantity = 0\nalert.track = 1\nalert.severity = {severity}\nalert.suppress = 1\n\
         alert.suppress.fields = subject\nalert.suppress.period = 1h\n",
        alert.title,
        alert.description,
        search(alert),
    )
}

fn panel(panel: &Panel) -> String {
    let head = format!("`{APP}` {} | {}", filter(panel.filter), weight());
    let (element, search, options) = match panel.draw {
        Draw::OverTime(by) => (
            "chart",
            format!("{head} | timechart limit={TOP} sum(weight) AS events BY {}", field(by)),
            "<option name=\"charting.chart\">column</option><option name=\"charting.chart.stackMode\">stacked</option>",
        ),
        Draw::Top(by) => {
            let by: Vec<String> = by.iter().map(|key| field(key)).collect();
            let by = by.join(" ");
            ("table", format!("{head} | stats sum(weight) AS events BY {by} | sort {TOP} -events"), "")
        }
        Draw::Principals => {
            let principal = subject(Subject::Principal);
            ("table", format!("{head}, {principal} | stats sum(weight) AS events BY subject | sort {TOP} -events"), "")
        }
        Draw::Percentile(of, by) => {
            let by: Vec<String> = by.iter().map(|key| field(key)).collect();
            let (of, by) = (field(of), by.join(" "));
            ("table", format!("{head} | stats perc95({of}) AS milliseconds BY {by} | sort {TOP} -milliseconds"), "")
        }
    };
    let escaped = search.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "  <row>\n    <panel>\n      <{element}>\n        <title>{}</title>\n        <search>\n          <query>{escaped}</query>\n          \
         <earliest>$time.earliest$</earliest>\n          <latest>$time.latest$</latest>\n        </search>\n        \
         {options}\n      </{element}>\n    </panel>\n  </row>\n",
        panel.title
    )
    .replace("        \n", "")
}

const NOTE: &str = "# Generated by `make generate`; put what you change into local/.\n";

/// CIM's words where they are not those of the events, and what its data sets require beside them.
fn props() -> String {
    let event = evaluated("event");
    let refused = |then: &str, otherwise: &str| format!("if({event}==\"auth_denied\", {then}, {otherwise})");
    let first = |keys: &[&str]| keys.iter().map(|key| evaluated(key)).collect::<Vec<_>>().join(", ");
    let (pool, unknown) = (evaluated("pool.name"), refused("\"unknown\"", "null()"));
    let fields = [
        ("vendor_product", "\"AI Gateway\"".to_owned()),
        ("vendor_account", pool.clone()),
        ("type", "\"event\"".to_owned()),
        ("id", evaluated("event_id")),
        ("signature_id", event.clone()),
        ("action", refused("\"failure\"", &evaluated("action"))),
        ("reason", format!("coalesce({})", first(&["action.reason", "auth.failure"]))),
        ("app", format!("coalesce({}, \"ai-gateway\")", evaluated("agent.name"))),
        ("dest", refused(&pool, &evaluated("mcp.server_name"))),
        ("object_category", format!("if({event}==\"tool_call\", \"tool\", null())")),
        ("user", format!("coalesce({}, {unknown})", first(&["user.id", "user.email"]))),
    ];
    let fields: String = fields.iter().map(|(name, value)| format!("EVAL-{name} = {value}\n")).collect();
    format!("{NOTE}\n[{SOURCETYPE}]\nKV_MODE = json\nSHOULD_LINEMERGE = false\nTRUNCATE = 100000\n{fields}")
}

/// The files of the app, below its folder.
pub fn files() -> Vec<(String, String)> {
    let alerts: Vec<Filter> =
        ALERTS.iter().filter(|alert| matches!(alert.trigger, Trigger::Count(_))).map(|alert| alert.filter).collect();
    let alerts: Vec<String> = alerts.into_iter().map(|found| format!("({})", filter(found))).collect();
    let is = |event: &'static str| format!("{}={event}", field("event"));
    let eventtypes = format!(
        "{NOTE}\n[ai_gateway_tool_call]\nsearch = sourcetype=\"{SOURCETYPE}\" {}\n\n\
         [ai_gateway_authentication]\nsearch = sourcetype=\"{SOURCETYPE}\" {}\n\n\
         [ai_gateway_alert]\nsearch = sourcetype=\"{SOURCETYPE}\" ({})\n",
        is("tool_call"),
        is("auth_denied"),
        alerts.join(" OR "),
    );
    let tags = format!(
        "{NOTE}# Data_Access, Authentication and Alerts of the Common Information Model.\n\n\
         [eventtype=ai_gateway_tool_call]\ndata = enabled\naccess = enabled\n\n\
         [eventtype=ai_gateway_authentication]\nauthentication = enabled\n\n\
         [eventtype=ai_gateway_alert]\nalert = enabled\n"
    );
    let view = format!(
        "<form version=\"1.1\">\n  <label>AI Gateway</label>\n  <fieldset submitButton=\"false\">\n    \
         <input type=\"time\" token=\"time\">\n      <label>Time</label>\n      \
         <default><earliest>-24h@h</earliest><latest>now</latest></default>\n    </input>\n  </fieldset>\n{}</form>\n",
        PANELS.iter().map(panel).collect::<String>()
    );
    let version = env!("CARGO_PKG_VERSION");
    let app = format!(
        "{NOTE}\n[install]\nis_configured = 0\nbuild = 1\n\n[ui]\nis_visible = 1\nlabel = AI Gateway\n\n[launcher]\n\
         author = AI Gateway\ndescription = Audit events of MCP tool calls: CIM, alerts and a dashboard.\n\
         version = {version}\n\n[package]\nid = {APP}\ncheck_for_updates = 0\n\n[id]\nname = {APP}\nversion = {version}\n"
    );
    let searches: String = ALERTS.iter().map(saved_search).collect();
    let macros = format!(
        "{NOTE}\n# Which events searches read. Name the index of your HEC token in local/macros.conf.\n[{APP}]\n\
         definition = index=mcp sourcetype=\"{SOURCETYPE}\"\niseval = 0\n"
    );
    let nav = "<nav search_view=\"search\">\n  <view name=\"ai_gateway\" default=\"true\"/>\n  <view name=\"search\"/>\n  \
               <view name=\"alerts\"/>\n</nav>\n";
    [
        ("default/app.conf", app),
        ("default/props.conf", props()),
        ("default/eventtypes.conf", eventtypes),
        ("default/tags.conf", tags),
        ("default/macros.conf", macros),
        ("default/savedsearches.conf", format!("{NOTE}{searches}")),
        ("default/data/ui/views/ai_gateway.xml", view),
        ("default/data/ui/nav/default.xml", nav.to_owned()),
        (
            "metadata/default.meta",
            "[]\naccess = read : [ * ], write : [ admin, sc_admin ]\nexport = system\n".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(path, text)| (format!("{APP}/{path}"), text))
    .collect()
}
