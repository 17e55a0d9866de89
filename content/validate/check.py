"""Reads the content with the platforms' own validators.

    check.py FOLDER_OF_VALIDATORS

Each check is also given a spoiled copy, which it must refuse: a validator that takes everything says nothing.
"""

import copy
import importlib.util
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
# README.md says so.
LEFT_EMPTY = {"Data_Access": {"object_id", "object_size", "user_name"}}
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


def condition(search):
    """A search of the kind that event types have, as an expression of Python."""
    words, ready = [], False
    for word in re.findall(r'\(|\)|OR|[\w.]+=(?:"[^"]*"|[^\s()]+)', search):
        if word == "OR" or word == ")":
            words.append(word.lower())
            ready = word == ")"
            continue
        if ready:
            words.append("and")
        key, _, value = word.partition("=")
        words.append("(" if word == "(" else f"(F({key!r}) == {value.strip(chr(34))!r})")
        ready = word != "("
    return " ".join(words)


def cim(app):
    """The events of the samples, read as the app reads them, against the models that add-ons for Splunk are tested with."""

    def stanzas(name):
        parts = re.split(r"^\[(.+)\]$", (app / "default" / name).read_text(), flags=re.M)[1:]
        return {head: dict(re.findall(r"^([^#\s]\S*) = (.*)$", body, re.M)) for head, body in zip(parts[::2], parts[1::2])}

    def flat(event, prefix=""):
        for key, value in event.items():
            yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]

    functions = {"IF": lambda is_so, then, other: then if is_so else other, "null": lambda: None,
                 "coalesce": lambda *values: next((value for value in values if value is not None), None)}

    def run(expression, fields):
        return eval(expression, {**functions, "F": fields.get, "__builtins__": {}})

    def read(line):
        envelope = json.loads(line)
        fields = {**dict(flat(envelope["event"])), "sourcetype": envelope["sourcetype"]}
        evaluated = {key[5:]: re.sub(r"'([^']+)'", r"F('\1')", value).replace("if(", "IF(")
                     for key, value in stanzas("props.conf")[envelope["sourcetype"]].items() if key.startswith("EVAL-")}
        return {**fields, **{key: run(expression, fields) for key, expression in evaluated.items()}}

    models = pathlib.Path(importlib.util.find_spec("pytest_splunk_addon").origin).parent / "data_models"
    roots = {frozenset(tags): root for path in models.glob("*.json")
             for root in json.loads(path.read_text())["objects"] for tags in root["tags"]}
    samples = CONTENT.parent / "exporter/tests/golden/splunk/samples.ndjson"
    events = [read(line) for line in samples.read_text().splitlines()]
    tags = {head.removeprefix("eventtype="): frozenset(names) for head, names in stanzas("tags.conf").items()}
    problems = []
    for name, stanza in stanzas("eventtypes.conf").items():
        root = roots[tags[name]]
        found = [event for event in events if run(condition(stanza["search"]), event)]
        if not found:
            problems.append(f"{name}: no sample is one")
        for field in root["fields"]:
            key = field["name"]
            values = [event[key] for event in found if event.get(key) is not None]
            # What a single event does not have, as the user of an anonymous call, CIM calls unknown.
            if not values and field["type"] == "required" and key not in LEFT_EMPTY.get(root["name"], ()):
                problems.append(f"{name}: {root['name']} requires {key}")
            expected = field.get("expected_values") or values
            problems += [f"{name}: {root['name']} knows no {key} {value!r}" for value in values if value not in expected]
    return problems


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
    props = spoiled / "default/props.conf"
    as_it_is = props.read_text()
    verdict("splunk/ai_gateway, CIM", cim(app))
    for spoil in ('"failure"', '"denied"'), ("EVAL-dest = ", "EVAL-destination = "), ('"tool"', "null()"):
        props.write_text(as_it_is.replace(*spoil))
        refused(f"splunk/ai_gateway, CIM, {spoil[0]}", cim(spoiled))

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
