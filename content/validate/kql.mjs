// Reads {"table": {"name", "columns": "(a: string, ...)"}, "queries": {NAME: QUERY}} from standard input and prints
// {NAME: {"errors": [...], "columns": [...]}}: what Microsoft's analyser of the Kusto Query Language says of each query on that table,
// and the columns of its result.
//
//   kql.mjs NODE_MODULES
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(import.meta.url);
const module = (file) => require(join(process.argv[2], "@kusto/language-service-next", file));
globalThis.Bridge = module("bridge.min.js");
module("Kusto.Language.Bridge.min.js");
const { KustoCode, GlobalState, Symbols } = globalThis.Kusto.Language;

const { table, queries } = JSON.parse(readFileSync(0, "utf8"));
const symbol = Symbols.TableSymbol.From(table.columns).WithName(table.name);
const globals = GlobalState.Default.WithDatabase(new Symbols.DatabaseSymbol.$ctor3("workspace", null, [symbol], false));
const items = (list) => Array.from({ length: list.Count ?? list.length }, (_, i) => (list.getItem ? list.getItem(i) : list[i]));

const result = {};
for (const [name, query] of Object.entries(queries)) {
  const code = KustoCode.ParseAndAnalyze(query, globals);
  const errors = items(code.GetDiagnostics()).map((found) => `${found.Severity}: ${found.Message}`);
  const columns = code.ResultType?.Columns ? items(code.ResultType.Columns).map((column) => column.Name) : [];
  result[name] = { errors, columns };
}
console.log(JSON.stringify(result));
