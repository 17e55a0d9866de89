// A client of the official npm SDKs: client.mjs FOLDER npm-1|npm-2|npm-2-modern OPTION...
//
// Prints each outcome as a line of JSON; check.py has the forms. Exits with 0 also for a refusal, which is an outcome.

import process from "node:process";
import { parseArgs } from "node:util";
import { connect, isAnswer } from "../peers/connect.mjs";

const DEADLINE_MS = 60_000;
setTimeout(() => {
  console.error("out of time");
  process.exit(1);
}, DEADLINE_MS).unref();

const say = (outcome, fields) => console.log(JSON.stringify({ outcome, ...fields }));

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    url: { type: "string" },
    "api-key": { type: "string" },
    list: { type: "boolean", default: false },
    calls: { type: "string", default: "0" },
    tool: { type: "string" },
    args: { type: "string", default: "{}" },
  },
});
const [folder, kind] = positionals;
const key = options["api-key"];

async function run() {
  const client = await connect(folder, kind, options.url, key ? { Authorization: `Bearer ${key}` } : {});
  if (options.list) say("tools", { tools: (await client.listTools()).tools.map((tool) => tool.name) });
  for (let n = 0; n < Number(options.calls); n += 1) {
    try {
      const result = await client.callTool({ name: options.tool, arguments: JSON.parse(options.args) });
      say("result", { text: result.content[0].text, isError: result.isError ?? false });
    } catch (error) {
      if (!isAnswer(folder, kind, error)) throw error;
      say("error", { code: error.code, message: error.message });
    }
  }
  await client.close();
}

await run().catch((error) => say("refused", { error: `${error.name}: ${error.message}` }));
process.exit(0);
