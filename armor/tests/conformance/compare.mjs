// Compares the runs of the conformance suite: directly, and through Armor.
//
// compare.mjs EXPECTED NPM OUT
//
// OUT has the suite's output in direct-SERVER-REVISION and armor-SERVER-REVISION. No check may succeed directly and not
// through Armor, and the scenarios that fail must be exactly those of EXPECTED. Prints a table and the problems, writes
// every scenario to OUT/scenarios.txt, and exits with 1 if there is a problem.

import { createRequire } from "node:module";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const [expectedFile, npm, out] = process.argv.slice(2);
const { parse } = createRequire(join(npm, "package.json"))("yaml");

const SERVERS = ["stateful", "stateless"];
/** How many scenarios the suite runs for a revision. With fewer, it ended early, and there is less to compare. */
const SCENARIOS = { "2025-11-25": 33, "2026-07-28": 50 };

/** How often each check came out how, by scenario: {scenario: {check: {SUCCESS: 2, FAILURE: 1}}}. */
function load(folder) {
  const scenarios = new Map();
  for (const name of readdirSync(folder)) {
    const scenario = name.replace(/^server-/, "").replace(/-\d{4}-\d\d-\d\dT.*$/, "");
    const checks = scenarios.get(scenario) ?? new Map();
    scenarios.set(scenario, checks);
    for (const { id, status, errorMessage } of JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8"))) {
      const seen = checks.get(id) ?? { SUCCESS: 0, FAILURE: 0 };
      checks.set(id, { ...seen, [status]: (seen[status] ?? 0) + 1, error: seen.error ?? errorMessage });
    }
  }
  return scenarios;
}

const count = (checks, status) => [...checks.values()].reduce((sum, check) => sum + check[status], 0);
const fails = (checks) => checks !== undefined && count(checks, "FAILURE") > 0;
const figures = (scenarios) => {
  const sum = (status) => [...scenarios.values()].reduce((total, checks) => total + count(checks, status), 0);
  return `${sum("SUCCESS")}/${sum("FAILURE")}`;
};

/** The listed scenarios of one pair, with their reasons. */
function listed(list, server, revision) {
  const entries = (list ?? []).filter((entry) => entry.server === server && entry.requirements === revision);
  for (const { reason } of entries) if (!reason) throw new Error(`${expectedFile}: an entry has no reason`);
  return new Map(entries.flatMap(({ scenarios, reason }) => scenarios.map((scenario) => [scenario, reason])));
}

function compare(direct, armor, ours, theirs) {
  const problems = [];
  for (const [scenario, checks] of direct) {
    if (!armor.has(scenario)) problems.push(`${scenario}: ran directly, but not through Armor`);
    if (ours.has(scenario)) continue;
    for (const [id, check] of checks) {
      const through = armor.get(scenario)?.get(id) ?? { SUCCESS: 0, FAILURE: 0 };
      if (check.SUCCESS > through.SUCCESS || check.FAILURE < through.FAILURE) {
        const tell = ({ SUCCESS, FAILURE }) => `${SUCCESS} succeed and ${FAILURE} fail`;
        const why = through.error ? `: ${through.error}` : "";
        problems.push(`${scenario}: ${id}: ${tell(check)} directly, ${tell(through)} through Armor${why}`);
      }
    }
  }
  for (const [scenario, checks] of armor) {
    const known = ours.has(scenario) || theirs.has(scenario);
    if (fails(checks) && !known) problems.push(`${scenario}: fails, and is not expected to`);
  }
  for (const scenario of ours.keys()) {
    const stale = fails(direct.get(scenario)) || !fails(armor.get(scenario));
    if (stale) problems.push(`${scenario}: listed to fail through Armor only, which it does not: stale`);
  }
  for (const scenario of theirs.keys()) {
    const stale = !fails(direct.get(scenario)) || !fails(armor.get(scenario));
    if (stale) problems.push(`${scenario}: listed to fail with and without Armor, which it does not: stale`);
  }
  return problems;
}

const expected = parse(readFileSync(expectedFile, "utf8"));
const known = Object.keys(SCENARIOS).flatMap((revision) => SERVERS.map((server) => `${server} ${revision}`));
for (const { server, requirements } of [...expected["through-armor"], ...expected["without-armor"]]) {
  const pair = `${server} ${requirements}`;
  if (!known.includes(pair)) throw new Error(`${expectedFile}: no runs of ${pair}`);
}

const line = (widths, cells) => cells.map((cell, n) => String(cell).padEnd(widths[n])).join("").trimEnd();
const row = (cells) => line([13, 10, 12, 12, 15, 14, 0], cells);
console.log(row(["requirements", "server", "directly", "Armor", "known: Armor", "known: both", "problems"]));
const lines = [];
let bad = 0;
for (const revision of Object.keys(SCENARIOS)) {
  for (const server of SERVERS) {
    const direct = load(join(out, `direct-${server}-${revision}`));
    const armor = load(join(out, `armor-${server}-${revision}`));
    const ours = listed(expected["through-armor"], server, revision);
    const theirs = listed(expected["without-armor"], server, revision);
    const problems = compare(direct, armor, ours, theirs);
    if (direct.size !== SCENARIOS[revision]) {
      problems.push(`${direct.size} scenarios ran directly instead of ${SCENARIOS[revision]}`);
    }
    bad += problems.length;
    console.log(row([revision, server, figures(direct), figures(armor), ours.size, theirs.size, problems.length]));
    for (const problem of problems) console.log(`  ${problem}`);
    for (const [scenario, checks] of [...direct].sort()) {
      const one = (found) => figures(new Map([[scenario, found ?? new Map()]]));
      const reason = ours.get(scenario) ?? theirs.get(scenario) ?? "";
      const cells = [revision, server, scenario, one(checks), one(armor.get(scenario)), reason];
      lines.push(line([12, 11, 50, 8, 8, 0], cells));
    }
  }
}
writeFileSync(join(out, "scenarios.txt"), `${lines.join("\n")}\n`);
console.log("succeeded/failed checks; every scenario: target/conformance/scenarios.txt");
process.exit(bad === 0 ? 0 : 1);
