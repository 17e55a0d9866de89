"""Lists the tools of a pool and calls one of them, with the official Python client.

    client.py URL TOOL [ARGUMENTS-AS-JSON]     environment: MCP_API_KEY, where the pool wants one

Ends with 1 and a sentence on standard error when the pool refuses or the tool is not there.
"""

import asyncio
import json
import os
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

# The demo must not hang on a pool that accepts connections and says nothing.
DEADLINE_SECONDS = 30


async def list_and_call(url: str, tool: str, arguments: dict) -> str | None:
    """Prints what the pool answers; gives what is wrong with it, if anything."""
    key = os.environ.get("MCP_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        print(f"connected with protocol revision {client.protocol_version}")
        tools, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                break
        print(f"{len(tools)} tools:")
        for each in tools:
            summary = (each.description or "").strip().partition("\n")[0]
            print(f"  {each.name:<34} {summary[:80]}")
        if tool not in {each.name for each in tools}:
            return f"the pool offers no tool {tool}"

        print(f"\ncall {tool} {json.dumps(arguments)}")
        result = await client.call_tool(tool, arguments)
        for part in result.content:
            print("  " + getattr(part, "text", repr(part)).replace("\n", "\n  "))
        return "the tool answered with an error" if result.is_error else None


def sentence(error: BaseException) -> str:
    """The first real cause in the groups that the client wraps around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    url, tool, *rest = sys.argv[1:]
    try:
        call = list_and_call(url, tool, json.loads(rest[0]) if rest else {})
        sys.exit(asyncio.run(asyncio.wait_for(call, DEADLINE_SECONDS)))
    except TimeoutError:
        sys.exit(f"no answer from {url} within {DEADLINE_SECONDS} s")
    except Exception as error:
        sys.exit(f"{url}: {sentence(error)}")
