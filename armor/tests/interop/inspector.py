#!/usr/bin/env python3
"""The inspector's command line, with the options and the outcomes of the other clients: inspector.py ERA OPTION...

It connects anew for each call, and sends the key in the other header, X-API-Key.
"""

import argparse
import json
import os
import subprocess
import sys

DEADLINE_SECONDS = 60


def say(outcome: str, **fields) -> None:
    print(json.dumps({"outcome": outcome, **fields}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("era", choices=["legacy", "auto", "modern"])
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--list", action="store_true", help="list the tools first")
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--tool")
    parser.add_argument("--args", type=json.loads, default={}, help="the arguments of each call, as a JSON object")
    options = parser.parse_args()

    def inspect(*method: str) -> dict:
        command = [os.environ["NODE"], os.environ["INSPECTOR"], "--cli", "--format", "json"]
        command += ["--protocol-era", options.era, options.url, *method]
        if options.api_key:
            command += ["--header", f"X-API-Key: {options.api_key}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
        # A result is on stdout, an error is the last line of stderr.
        lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
        return json.loads(lines[-1] if done.returncode else "\n".join(lines))

    if options.list:
        report(inspect("--method", "tools/list"))
    for _ in range(options.calls):
        pairs = [f"{name}={json.dumps(value)}" for name, value in options.args.items()]
        arguments = ["--tool-arg", *pairs] if pairs else []
        report(inspect("--method", "tools/call", "--tool-name", options.tool, *arguments))


def report(answer: dict) -> None:
    match answer:
        case {"result": {"tools": tools}}:
            say("tools", tools=[tool["name"] for tool in tools])
        case {"result": {"content": [{"text": text}, *_], **rest}}:
            say("result", text=text, isError=rest.get("isError", False))
        case {"error": {"code": "auth_required" as code, "message": message}}:
            say("refused", error=f"{code}: {message}")
        case {"error": {"code": code, "message": message}}:
            say("error", code=code, message=message)
        case _:
            sys.exit(f"not understood: {answer}")


if __name__ == "__main__":
    main()
