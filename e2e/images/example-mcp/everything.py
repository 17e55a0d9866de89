"""An example MCP server, built with the official SDK: a tool for each way in which a call can go.

It speaks Streamable HTTP at /mcp, to clients of both protocol eras. It must never be more than an
example: it has one optional, fixed bearer token and accepts any Host header, because inside a cluster
it is reached by names that it can not know.
"""

import argparse
import asyncio
import hmac
import os

import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings


def build(name: str) -> MCPServer:
    """The server with its tools, a resource and a prompt."""
    server = MCPServer(name, version="1.0.0", instructions="Call echo first to see that the way is clear.")

    @server.tool()
    def echo(text: str) -> str:
        """Returns the text as it came, with the name of the server that saw it."""
        return f"{name}: {text}"

    @server.tool()
    def add(a: int, b: int) -> int:
        """Adds two whole numbers."""
        return a + b

    @server.tool()
    async def slow(seconds: float) -> str:
        """Answers after this many seconds, at most 600."""
        if not 0 <= seconds <= 600:
            raise ToolError("seconds must be between 0 and 600")
        await asyncio.sleep(seconds)
        return f"waited {seconds:g} s"

    @server.tool()
    def fail(message: str) -> str:
        """Fails with this message, as a tool that meets an error does."""
        raise ToolError(message)

    @server.resource("example://greeting")
    def greeting() -> str:
        """A text that never changes."""
        return f"Greetings from {name}"

    @server.prompt()
    def summarize(text: str) -> str:
        """Asks for a summary of a text."""
        return f"Summarize in one sentence:\n\n{text}"

    return server


class RequireBearer:
    """Answers 401 to every HTTP request without the token."""

    def __init__(self, app, token: str) -> None:
        self.app = app
        self.expected = f"Bearer {token}".encode()

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self.expected):
                headers = [(b"www-authenticate", b"Bearer"), (b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 401, "headers": headers})
                await send({"type": "http.response.body", "body": b'{"error":"invalid_token"}'})
                return
        await self.app(scope, receive, send)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default all)")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--name", default="everything", help="the name that the server gives itself")
    parser.add_argument("--bearer-token-env", metavar="VARIABLE", help="require the bearer token in this environment variable")
    options = parser.parse_args()

    app = build(options.name).streamable_http_app(
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False)
    )
    if options.bearer_token_env:
        token = os.environ.get(options.bearer_token_env, "").strip()
        if not token:
            parser.error(f"the environment variable {options.bearer_token_env} is empty or not set")
        app = RequireBearer(app, token)
    uvicorn.run(app, host=options.host, port=options.port, log_level="info", timeout_graceful_shutdown=5)


if __name__ == "__main__":
    main()
