"""A server of the official Python SDK, in whichever of its two lines is installed: server.py PORT"""

import sys

from pydantic import BaseModel

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context

    SECOND_LINE = True
except ImportError:
    from mcp.server.fastmcp import Context
    from mcp.server.fastmcp import FastMCP as MCPServer

    SECOND_LINE = False

port = int(sys.argv[1])
server = MCPServer("python-peer", instructions="Add numbers.")


class Colour(BaseModel):
    """What the person is asked for."""

    colour: str


@server.tool()
def add(a: int, b: int) -> str:
    """Adds two numbers."""
    return str(a + b)


@server.tool()
def fail() -> str:
    """Fails, as a tool does."""
    raise ValueError("this tool fails")


@server.tool()
async def ask(ctx: Context) -> str:
    """Asks the person for a colour, within the call."""
    answer = await ctx.elicit("Which colour?", Colour)
    return answer.data.colour if answer.action == "accept" else answer.action


@server.resource("peer://greeting")
def greeting() -> str:
    """A text."""
    return "hello"


@server.prompt()
def summarize(text: str) -> str:
    """Asks for a summary."""
    return f"Summarize: {text}"


if SECOND_LINE:
    server.run("streamable-http", host="127.0.0.1", port=port)
else:
    server.settings.port = port
    server.run("streamable-http")
