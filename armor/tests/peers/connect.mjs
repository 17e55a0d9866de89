// How each line of the official npm SDKs connects.

import { createRequire } from "node:module";
import { join } from "node:path";

const capabilities = { elicitation: {} };
/** The person's answer to whatever is asked. */
const answer = async () => ({ action: "accept", content: { colour: "blue" } });

const from = (folder) => createRequire(join(folder, "package.json"));

/** Is this an answer of the other side, and not a failure on the way to it? */
export function isAnswer(folder, kind, error) {
  if (kind === "npm-1") return error instanceof from(folder)("@modelcontextprotocol/sdk/types.js").McpError;
  return error instanceof from(folder)("@modelcontextprotocol/client").ProtocolError;
}

/**
 * A connected client. FOLDER is where the packages are installed; KIND is npm-1, npm-2 (which stays with the
 * handshake, its default) or npm-2-modern (which looks for the newest revision).
 */
export async function connect(folder, kind, url, headers = {}) {
  const load = from(folder);
  const info = { name: kind, version: "1.0.0" };
  const options = { requestInit: { headers } };
  if (kind === "npm-1") {
    const { Client } = load("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = load("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { ElicitRequestSchema } = load("@modelcontextprotocol/sdk/types.js");
    const client = new Client(info, { capabilities });
    client.setRequestHandler(ElicitRequestSchema, answer);
    await client.connect(new StreamableHTTPClientTransport(new URL(url), options));
    return client;
  }
  const { Client, StreamableHTTPClientTransport } = load("@modelcontextprotocol/client");
  const negotiation = kind === "npm-2-modern" ? { versionNegotiation: { mode: "auto" } } : {};
  const client = new Client(info, { capabilities, ...negotiation });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), options));
  return client;
}
