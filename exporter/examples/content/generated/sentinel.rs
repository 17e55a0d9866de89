//! For Microsoft Sentinel: the table and the rule that fills it, analytics rules, a workbook.
//!
//! Sources: ARM templates of `Microsoft.OperationalInsights/workspaces/tables` 2022-10-01 and of
//! `Microsoft.Insights/dataCollectionRules` 2023-03-11 (`kind: Direct`, which has an endpoint of its own); ASIM AgentEvent
//! 1.0.0; the YAML of analytics rules as the Azure-Sentinel repository has it.

use std::collections::BTreeMap;

use exporter::mapping::{Platform, ROWS};
use serde_json::{Value, json};

use super::names::{ADDITIONAL, Type, all, kind, name};
use super::source::{ALERTS, Alert, Draw, Filter, Is, Level, PANELS, Panel, Subject, TOP, Trigger};
use super::text::{pretty, quoted};

/// The table. The destination's `stream` is `Custom-` and this without the suffix.
pub const TABLE: &str = "AiGatewayAgentEvent_CL";
/// The stream that the rule declares.
pub const STREAM: &str = "Custom-AiGatewayAgentEvent";

/// What the exporter adds to the values of an event, with the type that ASIM gives it.
pub const DERIVED: &[(&str, &str)] = &[
    (ADDITIONAL, "dynamic"),
    ("EventCount", "int"),
    ("EventEndTime", "datetime"),
    ("EventProduct", "string"),
    ("EventSchema", "string"),
    ("EventSchemaVersion", "string"),
    ("EventSeverity", "string"),
    ("EventStartTime", "datetime"),
    ("EventVendor", "string"),
];

/// The type of every column.
pub fn columns() -> BTreeMap<String, &'static str> {
    let mut columns = BTreeMap::new();
    for row in ROWS {
        for column in all(Platform::Asim, row.key).into_iter().filter(|name| !name.contains('.')) {
            let kind = match kind(Platform::Asim, row) {
                Type::Text | Type::Message | Type::Address => "string",
                Type::Integer => "long",
                Type::Real => "real",
                Type::Time => "datetime",
            };
            columns.insert(column, kind);
        }
    }
    // These are what ASIM says, also where the schema of the events has a wider type.
    columns.extend(DERIVED.iter().map(|(column, kind)| ((*column).to_owned(), *kind)));
    columns
}

/// The value of a key as a string.
fn value(key: &str) -> String {
    let name = name(Platform::Asim, key);
    if name.contains('.') { format!("tostring({name})") } else { name }
}

/// A name for a column of a result.
fn column(key: &str) -> String {
    let name = name(Platform::Asim, key);
    if !name.contains('.') {
        return name;
    }
    let words = key.split(['.', '_']).map(|word| word[..1].to_uppercase() + &word[1..]);
    words.collect()
}

fn by(keys: &[&str]) -> String {
    let columns: Vec<String> = keys
        .iter()
        .map(|key| match (column(key), value(key)) {
            (column, value) if column == value => column,
            (column, value) => format!("{column} = {value}"),
        })
        .collect();
    columns.join(", ")
}

/// The condition of a `where`.
pub fn filter(filter: Filter) -> String {
    let condition = |(key, values): &Is| match values {
        [one] => format!("{} == {}", value(key), quoted(one)),
        many => {
            let values: Vec<String> = many.iter().map(|value| quoted(value)).collect();
            format!("{} in ({})", value(key), values.join(", "))
        }
    };
    let group = |group: &&[Is]| group.iter().map(condition).collect::<Vec<_>>().join(" and ");
    match filter {
        [one] => group(one),
        many => many.iter().map(|one| format!("({})", group(one))).collect::<Vec<_>>().join(" or "),
    }
}

/// Without anybody to count by there is nothing to say.
fn subject(subject: Subject) -> String {
    let keys: Vec<String> = subject.keys().iter().map(|key| value(key)).collect();
    format!("extend Subject = coalesce({})\n| where isnotempty(Subject)", keys.join(", "))
}

/// The query of a rule, on lines.
pub fn query(alert: &Alert) -> String {
    let found = format!("where {}\n| {}", filter(alert.filter), subject(alert.subject));
    let details: Vec<String> =
        alert.details.iter().map(|key| format!("{}Values = make_set({}, 20)", column(key), value(key))).collect();
    let details = details.join(", ");
    let window = alert.window_minutes;
    match alert.trigger {
        Trigger::Count(least) => format!(
            "{TABLE}\n| where TimeGenerated > ago({window}m)\n| {found}\n\
             | summarize Events = sum(EventCount), FirstTime = min(TimeGenerated), LastTime = max(TimeGenerated), {details} by Subject\n\
             | where Events >= {least}"
        ),
        Trigger::Unusual { least, .. } => format!(
            "let end = now();\n\
             let usual = {TABLE}\n| where TimeGenerated between (end - 7d .. end - {window}m)\n| {found}\n\
             | summarize Events = sum(EventCount) by Subject, Window = bin(TimeGenerated, {window}m)\n\
             | summarize Mean = avg(Events), Deviation = stdev(Events) by Subject;\n\
             {TABLE}\n| where TimeGenerated > end - {window}m\n| {found}\n\
             | summarize Events = sum(EventCount), FirstTime = min(TimeGenerated), LastTime = max(TimeGenerated), {details} by Subject\n\
             | join kind=leftouter usual on Subject\n\
             | where Events >= {least} and Events > coalesce(Mean, 0.0) + 3 * coalesce(Deviation, 0.0)\n\
             | project-away Subject1"
        ),
    }
}

fn rule(alert: &Alert) -> String {
    let severity = match alert.level {
        Level::Medium => "Medium",
        Level::High => "High",
    };
    let period = match alert.trigger {
        Trigger::Count(_) => format!("{}m", alert.window_minutes),
        Trigger::Unusual { .. } => "7d".into(),
    };
    let frequency = if alert.window_minutes < 60 { format!("{}m", alert.window_minutes) } else { "1h".into() };
    let (entity, identifier) = match alert.subject {
        Subject::Address => ("IP", "Address"),
        Subject::Principal => ("Account", "Name"),
    };
    let indented: String = query(alert).lines().map(|line| format!("  {line}\n")).collect();
    let (tactic, technique) = alert.attack;
    format!(
        "# Generated by `make generate`.\n\
         id: {}\nname: AI Gateway - {}\ndescription: {}\nkind: Scheduled\nversion: 1.0.0\nseverity: {severity}\n\
         status: Available\nrequiredDataConnectors: []\n\
         queryFrequency: {frequency}\nqueryPeriod: {period}\ntriggerOperator: gt\ntriggerThreshold: 0\n\
         tactics:\n- {tactic}\nrelevantTechniques:\n- {technique}\n\
         query: |\n{indented}\
         entityMappings:\n- entityType: {entity}\n  fieldMappings:\n  - identifier: {identifier}\n    columnName: Subject\n\
         suppressionEnabled: true\nsuppressionDuration: 1h\n",
        alert.uuids[1], alert.title, alert.description,
    )
}

/// The query of a panel, on lines.
pub fn panel_query(panel: &Panel) -> String {
    let head = format!("{TABLE}\n| where {}", filter(panel.filter));
    match panel.draw {
        Draw::OverTime(key) => {
            format!(
                "{head}\n| summarize Events = sum(EventCount) by bin(TimeGenerated, {{TimeRange:grain}}), {}",
                by(&[key])
            )
        }
        Draw::Top(keys) => {
            format!("{head}\n| summarize Events = sum(EventCount) by {}\n| top {TOP} by Events desc", by(keys))
        }
        Draw::Principals => {
            let principal = subject(Subject::Principal);
            format!(
                "{head}\n| {principal}\n| summarize Events = sum(EventCount) by Subject\n| top {TOP} by Events desc"
            )
        }
        Draw::Percentile(of, keys) => format!(
            "{head}\n| summarize Milliseconds = percentile(toreal({}), 95) by {}\n| top {TOP} by Milliseconds desc",
            name(Platform::Asim, of),
            by(keys)
        ),
    }
}

fn workbook() -> Value {
    let range = json!({
        "type": 9,
        "name": "parameters",
        "content": {"version": "KqlParameterItem/1.0", "style": "pills", "queryType": 0, "parameters": [{
            "id": "8d1f4a52-0d0c-4a0e-9c55-6f1f7f0a1c20", "version": "KqlParameterItem/1.0", "name": "TimeRange", "type": 4,
            "isRequired": true, "value": {"durationMs": 86_400_000},
            "typeSettings": {"selectableValues": [
                {"durationMs": 3_600_000}, {"durationMs": 86_400_000}, {"durationMs": 604_800_000},
            ]},
        }]},
    });
    let item = |panel: &Panel| {
        let visualization = if matches!(panel.draw, Draw::OverTime(_)) { "barchart" } else { "table" };
        json!({
            "type": 3,
            "name": panel.id,
            "customWidth": "50",
            "content": {
                "version": "KqlItem/1.0", "query": panel_query(panel), "size": 0, "title": panel.title,
                "timeContextFromParameter": "TimeRange", "queryType": 0,
                "resourceType": "microsoft.operationalinsights/workspaces", "visualization": visualization,
            },
        })
    };
    json!({
        "version": "Notebook/1.0",
        "items": std::iter::once(range).chain(PANELS.iter().map(item)).collect::<Vec<_>>(),
        "$schema": "https://github.com/Microsoft/Application-Insights-Workbooks/blob/master/schema/workbook.json",
    })
}

/// The table, and the rule that takes what the exporter sends.
fn deployment() -> Value {
    let columns: Vec<Value> = columns().into_iter().map(|(name, kind)| json!({"name": name, "type": kind})).collect();
    let workspace = "[resourceId('Microsoft.OperationalInsights/workspaces', parameters('workspaceName'))]";
    let text = |description: &str| json!({"type": "string", "metadata": {"description": description}});
    let mut location = text("The region of the workspace.");
    location["defaultValue"] = "[resourceGroup().location]".into();
    let mut rule = text("The name of the data collection rule.");
    rule["defaultValue"] = "ai-gateway-audit".into();
    json!({
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "workspaceName": text("The Log Analytics workspace of Sentinel, in this resource group."),
            "ruleName": rule,
            "location": location,
        },
        "resources": [
            {
                "type": "Microsoft.OperationalInsights/workspaces/tables",
                "apiVersion": "2022-10-01",
                "name": format!("[concat(parameters('workspaceName'), '/{TABLE}')]"),
                "properties": {"plan": "Analytics", "schema": {"name": TABLE, "columns": columns}},
            },
            {
                "type": "Microsoft.Insights/dataCollectionRules",
                "apiVersion": "2023-03-11",
                "name": "[parameters('ruleName')]",
                "location": "[parameters('location')]",
                "kind": "Direct",
                "dependsOn": [format!(
                    "[resourceId('Microsoft.OperationalInsights/workspaces/tables', parameters('workspaceName'), '{TABLE}')]"
                )],
                "properties": {
                    "streamDeclarations": {STREAM: {"columns": columns}},
                    "destinations": {"logAnalytics": [{"workspaceResourceId": workspace, "name": "workspace"}]},
                    "dataFlows": [{
                        "streams": [STREAM], "destinations": ["workspace"], "transformKql": "source",
                        "outputStream": format!("Custom-{TABLE}"),
                    }],
                },
            },
        ],
        "outputs": {
            "ruleId": {
                "type": "string",
                "value": "[reference(resourceId('Microsoft.Insights/dataCollectionRules', parameters('ruleName')), '2023-03-11').immutableId]",
            },
            "endpoint": {
                "type": "string",
                "value": "[reference(resourceId('Microsoft.Insights/dataCollectionRules', parameters('ruleName')), '2023-03-11').endpoints.logsIngestion]",
            },
        },
    })
}

/// The files.
pub fn files() -> Vec<(String, String)> {
    let mut files =
        vec![("azuredeploy.json".to_owned(), pretty(&deployment())), ("workbook.json".to_owned(), pretty(&workbook()))];
    files.extend(ALERTS.iter().map(|alert| (format!("rules/{}.yaml", alert.id), rule(alert))));
    files
}
