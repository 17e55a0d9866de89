// A client of the official npm SDKs.
//
// client.mjs FOLDER npm-1|npm-2|npm-2-modern URL TOOL...   calls each tool (by what its name ends with) and prints
// what was seen as one JSON object. FOLDER is where the packages are installed.

import process from "node:process";
import { connect } from "./connect.mjs";

const [folder, kind, url, ...names] = process.argv.slice(2);

const DEADLINE_MS = 60_000;
setTimeout(() => {
  console.error("out of time");
  process.exit(1);
}, DEADLINE_MS).unref();

const client = await connect(folder, kind, url);
const seen = { tools: (await client.listTools()).tools.map((tool) => tool.name) };
const sum = async (name) => (await client.callTool({ name, arguments: { a: 2, b: 3 } })).content[0].text;
let add;
for (const name of names) {
  if (name.endsWith("add")) {
    add = name;
    seen.sum = await sum(name);
  } else if (name.endsWith("fail")) {
    seen.failed = (await client.callTool({ name, arguments: {} })).isError;
  } else if (name.endsWith("ask")) {
    seen.asked = (await client.callTool({ name, arguments: {} })).content[0].text;
  } else {
    try {
      await client.callTool({ name, arguments: {} });
    } catch (error) {
      seen.error = { code: error.code, message: error.message };
    }
  }
}
if (add) seen.again = await sum(add);
await client.close();
console.log(JSON.stringify(seen));
