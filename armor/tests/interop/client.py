"""A client of the official Python SDK, in whichever of its two lines is installed.

Prints each outcome as a line of JSON; check.py has the forms. Exits with 0 also for a refusal, which is an outcome.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))

from client import DEADLINE_SECONDS, SECOND_LINE, MCPError, connect


def say(outcome: str, **fields) -> None:
    print(json.dumps({"outcome": outcome, **fields}), flush=True)


def causes(error: BaseException) -> list[BaseException]:
    """What lies in exception groups, which is where the SDK's task groups put everything."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for inner in error.exceptions for cause in causes(inner)]
    return [error]


async def run(options: argparse.Namespace) -> None:
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else None
    async with connect(options.url, headers, options.mode) as client:
        if options.list:
            listed = await client.list_tools()
            say("tools", tools=[tool.name for tool in listed.tools])
        for _ in range(options.calls):
            try:
                result = await client.call_tool(options.tool, options.args)
            except MCPError as error:
                say("error", code=error.error.code, message=error.error.message)
                continue
            failed = result.is_error if SECOND_LINE else result.isError
            say("result", text=result.content[0].text, isError=failed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", required=True)
    parser.add_argument("--api-key")
    parser.add_argument("--list", action="store_true", help="list the tools first")
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--tool")
    parser.add_argument("--args", type=json.loads, default={}, help="the arguments of each call, as a JSON object")
    parser.add_argument("--mode", choices=["auto", "legacy"], default="auto", help="how the second line negotiates")
    options = parser.parse_args()
    try:
        asyncio.run(asyncio.wait_for(run(options), DEADLINE_SECONDS))
    except (Exception, BaseExceptionGroup) as error:
        say("refused", error="; ".join(f"{type(cause).__name__}: {cause}" for cause in causes(error)))


if __name__ == "__main__":
    main()
