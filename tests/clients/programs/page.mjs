// The chat page as the programs serve it; what it does in a browser is in tests/browser.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { startLocal } from "../setups.mjs";
import { http } from "../support.mjs";
import { until } from "../wait.mjs";

const PHOENIX = new URL("../node_modules/phoenix/", import.meta.url);

async function local(t, env) {
  const stack = await startLocal({ env });
  t.after(() => stack.stop());
  return stack;
}

test("the page's phoenix.js is the official one, unchanged, and its licence is with it", { timeout: 60_000 }, async (t) => {
  const { gateways: [gateway] } = await local(t);
  for (const [path, file] of [["phoenix.mjs", "priv/static/phoenix.mjs"], ["phoenix.LICENSE.md", "LICENSE.md"]]) {
    const served = await http(gateway, "GET", `/page/vendor/${path}`);
    assert.equal(served.status, 200);
    assert.equal(served.body, readFileSync(new URL(file, PHOENIX), "utf8"), path);
  }
});

test("the local stack names the page's address, and lets it sign with the secret that everybody knows", { timeout: 60_000 }, async (t) => {
  const stack = await local(t);
  await until(() => stack.program.stdout.includes(`${stack.gateways[0]}/ `), { what: "the page's address" });
  const page = await http(stack.gateways[0], "GET", "/");
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-security-policy"), /default-src 'none'; script-src 'self'/);
  const demo = await http(stack.gateways[0], "GET", "/demo.json");
  assert.deepEqual(demo.body, { user_claim: "sub", signing: { secret: "dev-secret", issuer: null, audience: null } });
});

test("a secret that somebody has set is not told, and the page can be put away", { timeout: 60_000 }, async (t) => {
  const own = await local(t, { SIMURGH_JWT_SECRET: "one-of-my-own" });
  const demo = await http(own.gateways[0], "GET", "/demo.json");
  assert.deepEqual(demo.body, { user_claim: "sub", signing: null });
  const none = await local(t, { SIMURGH_DEMO_PAGE: "false" });
  for (const path of ["/", "/demo.json", "/page/js/main.js"]) {
    assert.equal((await http(none.gateways[0], "GET", path)).status, 404, path);
  }
  assert.ok(!none.program.stdout.includes(`${none.gateways[0]}/ `));
});
