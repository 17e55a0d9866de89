"""Reads the content with the platforms' own validators.

    check.py FOLDER_OF_VALIDATORS

Each check is also given a spoiled copy, which it must refuse: a validator that takes everything says nothing.
"""

import copy
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import yaml
from datadog_api_client import Configuration
from datadog_api_client.model_utils import UnparsedObject, validate_and_convert_types
from datadog_api_client.v1.model.dashboard import Dashboard
from datadog_api_client.v1.model.logs_pipeline import LogsPipeline
from datadog_api_client.v1.model.monitor import Monitor
from sigma.backends.elasticsearch import ESQLBackend
from sigma.collection import SigmaCollection
from sigma.plugins import InstalledSigmaPlugins
from sigma.validation import SigmaValidator

CONTENT = pathlib.Path(__file__).resolve().parent.parent
VALIDATORS = pathlib.Path(sys.argv[1])
# These two load lists from the network.
NOT_OFFLINE = {"attacktag", "d3_fendtag"}

passed = failed = 0


def verdict(name, problems):
    global passed, failed
    if problems:
        failed += 1
        print(f"FAILED: {name}", *(f"    {problem}" for problem in problems), sep="\n", file=sys.stderr)
    else:
        passed += 1


def refused(name, problems):
    verdict(f"{name}: a spoiled copy", [] if problems else ["was accepted"])


def splunk(app):
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [VALIDATORS / "venv/bin/splunk-appinspect", "inspect", app, "--mode", "precert", "--included-tags", "cloud",
                   "--output-file", report]
        run = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if not report.exists():
            return [run.stdout[-2000:], run.stderr[-2000:]]
        groups = json.loads(report.read_text())["reports"][0]["groups"]
    checks = [check for group in groups for check in group["checks"]]
    if len([check for check in checks if check["result"] == "success"]) < 50:
        return ["hardly any check was run"]
    return [f"{check['name']}: {message['message']}" for check in checks if check["result"] in ("failure", "error", "warning")
            for message in check["messages"]]


def sigma(files):
    rules = SigmaCollection.merge([SigmaCollection.from_yaml(text) for text in files])
    problems = [str(error) for rule in rules.rules for error in rule.errors]
    validators = {cls for name, cls in InstalledSigmaPlugins.autodiscover().validators.items() if name not in NOT_OFFLINE}
    problems += [str(issue) for issue in SigmaValidator(validators).validate_rules(iter(rules.rules))]
    try:
        queries = ESQLBackend().convert(rules)
        if len(queries) != len(files):
            problems.append(f"{len(queries)} queries of ES|QL from {len(files)} files")
    except Exception as error:  # the backend raises errors of many kinds
        problems.append(f"no ES|QL: {error}")
    return problems


def datadog(model, document):
    def visit(value, path):
        if isinstance(value, UnparsedObject):
            return [f"{path}: of no known form"]
        if isinstance(value, (list, tuple)):
            return [problem for i, item in enumerate(value) for problem in visit(item, f"{path}[{i}]")]
        problems = []
        for instance in getattr(value, "_composed_instances", None) or []:
            problems += visit(instance, path)
        attributes = getattr(type(value), "attribute_map", None)
        if attributes:
            fields = value._data_store
            problems += [f"{path}.{name}: no such field" for name in fields if name not in attributes]
            problems += [problem for name, field in fields.items() for problem in visit(field, f"{path}.{name}")]
        return problems

    try:
        return visit(validate_and_convert_types(document, (model,), ["document"], True, True, Configuration()), "")
    except Exception as error:  # the client raises errors of many kinds
        return [str(error)]


def kusto(queries):
    template = json.loads((CONTENT / "sentinel/azuredeploy.json").read_text())
    schema = template["resources"][0]["properties"]["schema"]
    columns = ", ".join(f"{column['name']}: {column['type']}" for column in schema["columns"])
    request = {"table": {"name": schema["name"], "columns": f"({columns})"}, "queries": queries}
    command = ["node", CONTENT / "validate/kql.mjs", VALIDATORS / "npm/node_modules"]
    run = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=120, check=True)
    return json.loads(run.stdout)


def sentinel_rule(rule, analysed):
    # The keys of a scheduled rule, as the Azure-Sentinel repository checks them.
    keys = {"id", "name", "description", "kind", "version", "severity", "status", "requiredDataConnectors", "queryFrequency",
            "queryPeriod", "triggerOperator", "triggerThreshold", "tactics", "relevantTechniques", "query", "entityMappings",
            "suppressionEnabled", "suppressionDuration"}
    problems = [f"keys: {sorted(set(rule) ^ keys)}"] if set(rule) != keys else []
    problems += [f"{key}: {rule[key]}" for key in ("queryFrequency", "queryPeriod", "suppressionDuration")
                 if not re.fullmatch(r"[1-9][0-9]*[mhd]", rule[key])]
    problems += analysed["errors"]
    mapped = {field["columnName"] for entity in rule["entityMappings"] for field in entity["fieldMappings"]}
    return problems + [f"no column {name} in the result" for name in mapped - set(analysed["columns"])]


app = CONTENT / "splunk/ai_gateway"
verdict("splunk/ai_gateway", splunk(app))
with tempfile.TemporaryDirectory() as folder:
    spoiled = pathlib.Path(folder) / "ai_gateway"
    shutil.copytree(app, spoiled)
    conf = spoiled / "default/app.conf"
    conf.write_text(conf.read_text().replace("id = ai_gateway", "id = another"))
    refused("splunk/ai_gateway", splunk(spoiled))

rules = [path.read_text() for path in sorted((CONTENT / "elastic/sigma").glob("*.yml"))]
verdict(f"elastic/sigma, {len(rules)} files", sigma(rules) + ([] if len(rules) == 5 else ["not five"]))
refused("elastic/sigma", sigma([rules[0].replace("selection_*", "selektion_*")]))

models = {"pipeline.json": LogsPipeline, "dashboard.json": Dashboard}
for path in sorted((CONTENT / "datadog").rglob("*.json")):
    document = json.loads(path.read_text())
    name = str(path.relative_to(CONTENT))
    verdict(name, datadog(models.get(path.name, Monitor), document))
    refused(name, datadog(models.get(path.name, Monitor), {**copy.deepcopy(document), "naem": "x"}))
document = json.loads((CONTENT / "datadog/dashboard.json").read_text())
document["widgets"][0]["definition"]["requests"][0]["queries"][0]["compute"]["aggregation"] = "cnt"
refused("datadog/dashboard.json, a query", datadog(Dashboard, document))

files = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((CONTENT / "sentinel/rules").glob("*.yaml"))}
workbook = json.loads((CONTENT / "sentinel/workbook.json").read_text())
panels = {item["name"]: item["content"]["query"].replace("{TimeRange:grain}", "1h") for item in workbook["items"] if item["type"] == 3}
queries = {name: rule["query"] for name, rule in files.items()} | panels
spoiled = {"spoiled": queries["policy-violations"].replace("EventOriginalType", "EventOriginalTyp")}
analysed = kusto(queries | spoiled)
for name, rule in files.items():
    verdict(f"sentinel/rules/{name}.yaml", sentinel_rule(rule, analysed[name]))
for name in panels:
    verdict(f"sentinel/workbook.json, {name}", analysed[name]["errors"])
refused("sentinel, a query", analysed["spoiled"]["errors"])

print(f"content: {passed} passed, {failed} failed")
sys.exit(failed != 0)
