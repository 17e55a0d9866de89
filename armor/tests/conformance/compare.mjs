// Compares two runs of the conformance suite: directly, and through Armor.
//
// A check that succeeds directly must not fail through Armor, and the scenarios that fail through Armor must be
// exactly those that expected-failures.yaml lists for this server and this requirement set.

import { createRequire } from "node:module";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const [expectedFile, mode, revision, directFolder, armorFolder] = process.argv.slice(2);
const { parse } = createRequire(process.execPath)("../../yaml");

/** Status of every check, by scenario. A check that ran several times failed if it failed once. */
function load(folder) {
  const scenarios = new Map();
  for (const name of readdirSync(folder)) {
    const scenario = name.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "");
    const checks = scenarios.get(scenario) ?? new Map();
    scenarios.set(scenario, checks);
    for (const check of JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8"))) {
      if (checks.get(check.id)?.status !== "FAILURE") checks.set(check.id, check);
    }
  }
  return scenarios;
}

const fails = (checks) => [...checks.values()].some((check) => check.status === "FAILURE");
const count = (scenarios, status) =>
  [...scenarios.values()].flatMap((checks) => [...checks.values()]).filter((check) => check.status === status).length;

const direct = load(directFolder);
const armor = load(armorFolder);
const expected = new Map(
  parse(readFileSync(expectedFile, "utf8"))
    .filter((entry) => entry.server === mode && entry.requirements === revision)
    .flatMap((entry) => entry.scenarios.map((scenario) => [scenario, entry.reason])),
);

const problems = [];
if (armor.size === 0 || direct.size === 0) problems.push("the suite ran no scenario");
for (const [scenario, checks] of direct) {
  if (!armor.has(scenario)) problems.push(`${scenario}: ran directly, but not through Armor`);
  for (const [id, check] of checks) {
    const through = armor.get(scenario)?.get(id);
    if (check.status === "SUCCESS" && through?.status === "FAILURE") {
      problems.push(`${scenario}: ${id} succeeds directly and fails through Armor: ${through.errorMessage ?? ""}`);
    }
  }
}
for (const [scenario, checks] of armor) {
  if (fails(checks) && !expected.has(scenario)) problems.push(`${scenario}: fails, and is not expected to`);
  if (!fails(checks) && expected.has(scenario)) problems.push(`${scenario}: is expected to fail, and does not: take it off the list`);
}
for (const scenario of expected.keys()) {
  if (!armor.has(scenario)) problems.push(`${scenario}: is expected to fail, but there is no such scenario`);
}

const figures = (scenarios) => `${count(scenarios, "SUCCESS")} passed, ${count(scenarios, "FAILURE")} failed`;
console.log(
  `conformance ${revision}, ${mode} server: directly ${figures(direct)}; through Armor ${figures(armor)}; ` +
    `${expected.size} scenarios expected to fail; ${problems.length} problems`,
);
for (const problem of problems) console.log(`  ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
