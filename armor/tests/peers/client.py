"""A client of the official Python SDK, in whichever of its two lines is installed.

client.py URL TOOL...   calls each tool (by what its name ends with) and prints what was seen as one JSON object.
"""

import asyncio
import json
import sys
from contextlib import asynccontextmanager

try:
    from httpx2 import AsyncClient, Timeout
    from mcp import Client, MCPError
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import ElicitResult

    SECOND_LINE = True
except ImportError:
    from httpx import AsyncClient, Timeout
    from mcp import ClientSession
    from mcp import McpError as MCPError
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import ElicitResult

    SECOND_LINE = False

DEADLINE_SECONDS = 60
# As the SDK has them by default.
HTTP_TIMEOUT_SECONDS = 30
READ_TIMEOUT_SECONDS = 300


async def answer(_context, _params) -> ElicitResult:
    """The person's answer to whatever is asked."""
    return ElicitResult(action="accept", content={"colour": "blue"})


@asynccontextmanager
async def connect(url: str, headers: dict[str, str] | None = None, mode: str = "auto"):
    """A connected client. The mode is how the second line negotiates: "auto" or "legacy"."""
    async with AsyncClient(headers=headers, timeout=Timeout(HTTP_TIMEOUT_SECONDS, read=READ_TIMEOUT_SECONDS)) as http:
        transport = streamable_http_client(url, http_client=http)
        if SECOND_LINE:
            async with Client(transport, elicitation_callback=answer, mode=mode) as client:
                yield client
            return
        async with transport as (read, write, _):
            async with ClientSession(read, write, elicitation_callback=answer) as session:
                await session.initialize()
                yield session


async def main(url: str, names: list[str]) -> dict:
    """What a user sees."""
    seen: dict = {}
    async with connect(url) as client:
        seen["tools"] = [tool.name for tool in (await client.list_tools()).tools]
        add = None
        for name in names:
            if name.endswith("add"):
                add = name
                seen["sum"] = (await client.call_tool(name, {"a": 2, "b": 3})).content[0].text
            elif name.endswith("fail"):
                result = await client.call_tool(name, {})
                seen["failed"] = result.is_error if SECOND_LINE else result.isError
            elif name.endswith("ask"):
                seen["asked"] = (await client.call_tool(name, {})).content[0].text
            else:
                try:
                    await client.call_tool(name, {})
                except MCPError as error:
                    seen["error"] = {"code": error.error.code, "message": error.error.message}
        if add:
            seen["again"] = (await client.call_tool(add, {"a": 2, "b": 3})).content[0].text
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(asyncio.wait_for(main(sys.argv[1], sys.argv[2:]), DEADLINE_SECONDS))))
