"""Three calls to a pool with API keys, with the official Python client: one that is allowed, one with a wrong key, and one of a tool that
is not there.

    calls.py URL TOOL UNKNOWN-TOOL     environment: MCP_API_KEY

Ends with 1 unless the first succeeds and the other two are refused.
"""

import asyncio
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

DEADLINE_SECONDS = 30


async def call(url: str, key: str, tool: str) -> tuple[bool, str]:
    """Whether the call succeeded, and what came of it in a few words."""
    statuses: list[int] = []

    async def note(response: httpx2.Response) -> None:
        statuses.append(response.status_code)

    try:
        async with (
            httpx2.AsyncClient(headers={"Authorization": f"Bearer {key}"}, event_hooks={"response": [note]}) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            result = await client.call_tool(tool, {"text": "hello, audited"})
            text = " ".join(getattr(part, "text", repr(part)) for part in result.content)
            return not result.is_error, text
    except Exception as error:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if 401 in statuses:
            return False, "HTTP 401"
        return False, str(error)


async def main(url: str, tool: str, unknown: str) -> str | None:
    right = os.environ["MCP_API_KEY"]
    wrong = right[:-8] + ("AAAAAAAA" if not right.endswith("AAAAAAAA") else "BBBBBBBB")
    for label, key, name, expected in (
        ("allowed", right, tool, True),
        ("wrong key", wrong, tool, False),
        ("unknown tool", right, unknown, False),
    ):
        succeeded, words = await call(url, key, name)
        print(f"  {label:<14} {name:<20} {'ok' if succeeded else 'refused':<9} {words[:90]}")
        if succeeded != expected:
            return f"the call '{label}' should have been {'answered' if expected else 'refused'}"
    return None


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        sys.exit(asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), DEADLINE_SECONDS)))
    except TimeoutError:
        sys.exit(f"no answer from {sys.argv[1]} within {DEADLINE_SECONDS} s")
