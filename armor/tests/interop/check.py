#!/usr/bin/env python3
"""What the users of the official clients see through Armor, and what the audit trail says about it.

check.py clients           prints the names of the clients
check.py calls URL OUT     runs every client; OUT/keys/CLIENT.key is its API key
check.py events OUT        compares OUT/stream.json with what the clients did

Every client program takes --url, --api-key, --list, --calls, --tool, --args and prints one JSON object for each outcome:

{"outcome": "tools", "tools": [NAME...]}
{"outcome": "result", "text": TEXT, "isError": BOOL}      what a call gave
{"outcome": "error", "code": CODE, "message": TEXT}       the JSON-RPC error that a call gave
{"outcome": "refused", "error": TEXT}                     what the user reads when nothing could be called
"""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DEADLINE_SECONDS = 90
SUM = {"a": 2, "b": 3}
OLD = {"old__add", "old__fail", "old__ask"}
# `ask` is denied to this pool.
NEW = {"new__add", "new__fail"}
UNKNOWN = -32602


@dataclass
class Client:
    """How to run one, how often it calls, and what its user reads when a key is wrong, and when it is missing."""

    command: list[str]
    modern: bool
    wrong: str
    missing: str
    calls: int = 20


def clients() -> dict[str, Client]:
    env = os.environ.get
    python, npm = str(HERE / "client.py"), [env("NODE", ""), str(HERE / "client.mjs"), env("NPM", "")]
    inspector = [sys.executable, str(HERE / "inspector.py")]
    # The SDKs that show the body of a 401 show Armor's sentence.
    sentences = "the API key is not accepted", "an API key is needed"
    status = "401 Unauthorized", "401 Unauthorized"
    negotiation = "requires authorization (HTTP 401)", "requires authorization (HTTP 401)"
    word = "Unauthorized", "Unauthorized"
    login = "auth_required", "auth_required"
    return {
        "python-1": Client([env("PYTHON_1", ""), python], False, *status),
        "python-2": Client([env("PYTHON_2", ""), python], True, *sentences),
        "python-2-legacy": Client([env("PYTHON_2", ""), python, "--mode", "legacy"], False, *sentences),
        "npm-1": Client([*npm, "npm-1"], False, *sentences),
        "npm-2": Client([*npm, "npm-2"], False, *sentences),
        "npm-2-modern": Client([*npm, "npm-2-modern"], True, *negotiation),
        "go": Client([env("GO_CLIENT", "")], True, *word),
        # It starts anew for each call, which takes long.
        "inspector": Client([*inspector, "legacy"], False, *login, calls=3),
        "inspector-modern": Client([*inspector, "modern"], True, *login, calls=3),
    }


class Run:
    """One client's runs: problems, and the calls that must be in the trail."""

    def __init__(self, name: str, client: Client, url: str, key: str) -> None:
        self.name, self.client, self.url, self.key = name, client, url, key
        self.problems: list[str] = []
        self.sent: Counter[str] = Counter()

    def say(self, *options: str, key: str | None) -> list[dict]:
        """The outcomes of one run of the program."""
        command = [*self.client.command, "--url", self.url, *(["--api-key", key] if key else []), *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        if done.returncode != 0:
            self.problems.append(f"{options}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def expect(self, what: str, seen: object, expected: object) -> None:
        if seen != expected:
            self.problems.append(f"{what}: {seen}, and not {expected}")

    def call(self, tool: str, arguments: dict, calls: int, expected: dict, status: str) -> None:
        """Calls, and expects this of every answer."""
        said = self.say("--calls", str(calls), "--tool", tool, "--args", json.dumps(arguments), key=self.key)
        self.expect(f"number of answers of {tool}", len(said), calls)
        sent = 0
        for answer in said:
            # The inspector looks a tool up before it calls it, and does not call one that it does not find.
            if answer.get("code") == "tool_not_found" and expected.get("code") == UNKNOWN:
                continue
            sent += 1
            seen = {field: answer.get(field) for field in expected}
            if seen != expected:
                self.problems.append(f"{tool}: {answer}, and not {expected}")
        self.sent[status] += sent

    def all(self) -> "Run":
        listed = self.say("--list", key=self.key)
        offered = NEW if self.client.modern else NEW | OLD
        self.expect("list", [sorted(line.get("tools", [])) for line in listed], [sorted(offered)])
        result = {"outcome": "result", "text": "5", "isError": False}
        unknown = {"outcome": "error", "code": UNKNOWN}
        self.call("new__add", SUM, self.client.calls, result, "success")
        if self.client.modern:
            self.call("old__add", SUM, 1, unknown, "error")
        else:
            self.call("old__add", SUM, 1, result, "success")
        self.call("new__fail", {}, 1, {"outcome": "result", "isError": True}, "error")
        self.call("new__ask", {}, 1, unknown, "error")
        self.call("nobody__add", SUM, 1, unknown, "error")
        for key, text in [("agw_not-a-key-of-this-pool", self.client.wrong), (None, self.client.missing)]:
            said = self.say("--calls", "1", "--tool", "new__add", "--args", json.dumps(SUM), key=key)
            if len(said) != 1 or said[0]["outcome"] != "refused" or text not in said[0]["error"]:
                self.problems.append(f"key {key}: {said}, and not a refusal with '{text}'")
        return self


def calls(url: str, out: Path) -> int:
    def run(item: tuple[str, Client]) -> Run:
        name, client = item
        key = (out / "keys" / f"{name}.key").read_text().strip()
        return Run(name, client, url, key).all()

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        runs = list(pool.map(run, clients().items()))
    (out / "sent.json").write_text(json.dumps({run.name: run.sent for run in runs}))
    for run in runs:
        print(f"{run.name:<17} {run.sent.total():>3} calls  {len(run.problems)} problems")
        for problem in run.problems:
            print(f"  {problem}")
    return sum(len(run.problems) for run in runs)


def events(out: Path) -> int:
    """Exactly the calls that were sent, each under the name of the key's owner, and nothing of strangers."""
    sent: Counter[tuple[str, str]] = Counter()
    for name, by_status in json.loads((out / "sent.json").read_text()).items():
        sent.update({(f"{name}@example.com", status): count for status, count in by_status.items()})
    # An entry is its id and its fields, [name, value, ...].
    entries = [fields for _, fields in json.loads((out / "stream.json").read_text())]
    trail = [json.loads(fields[fields.index("event") + 1]) for fields in entries]
    seen = Counter((event.get("user.email"), event["status"]) for event in trail if event["event"] == "tool_call")
    problems = [
        f"{user}, {status}: {seen[user, status]} events for {sent[user, status]} calls"
        for user, status in sorted({*seen, *sent}, key=str)
        if seen[user, status] != sent[user, status]
    ]
    if not any(event["event"] == "auth_denied" for event in trail):
        problems.append("the refused keys are not in the trail")
    if any(event["event"] == "events_dropped" for event in trail):
        problems.append("events were dropped")
    print(f"audit trail: {seen.total()} events tool_call for {sent.total()} calls, {len(problems)} problems")
    for problem in problems:
        print(f"  {problem}")
    return len(problems)


def main() -> int:
    match sys.argv[1:]:
        case ["clients"]:
            print("\n".join(clients()))
            return 0
        case ["calls", url, out]:
            return min(calls(url, Path(out)), 1)
        case ["events", out]:
            return min(events(Path(out)), 1)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
