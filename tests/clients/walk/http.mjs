// What all HTTP calls share: the document that describes them, request ids, pages of other origins, bounds on bodies.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";

import { ROOT } from "../processes.mjs";
import { httpRefused, uuid } from "../shapes.mjs";
import { gateways, http, suite, walk } from "../support.mjs";

const CONVERSATIONS = "/api/v1/conversations";
/** SIMURGH_MAX_FRAME_BYTES, when nobody sets it. */
const MAX_BYTES = 131_072;

/** These have no meaning that is another by long poll. */
const call = (promise, body) => walk(promise, body, { webSocket: true });

suite("HTTP", () => {
  call("each gateway serves the document that is checked in, and asks for no token", async () => {
    const checkedIn = JSON.parse(readFileSync(path.join(ROOT, "docs/openapi.json"), "utf8"));
    for (const gateway of gateways) {
      const { status, body } = await http(gateway, "GET", "/api/openapi.json");
      assert.equal(status, 200);
      assert.deepEqual(body, checkedIn);
    }
  });

  call("an answer names its request, by the caller's name for it where that is fit for a log", async (scene) => {
    const named = async (id, path = "/api/v1/contacts") => {
      const answer = await scene.as(scene.user("alice"), "GET", path, undefined, { headers: id ? { "x-request-id": id } : {} });
      return answer.headers.get("x-request-id");
    };
    for (const id of ["a", "req-1.a/b:c_d+e=", "x".repeat(128)]) assert.equal(await named(id), id);
    assert.equal(await named("mine", "/api/v1/nothing"), "mine", "a refusal has it, too");
    for (const id of [undefined, "a b", 'a"b', "x".repeat(129)]) uuid(await named(id));
    assert.notEqual(await named(), await named());
  });

  call("a page of another origin may call, and may read refusals", async (scene) => {
    const headers = {
      origin: "https://page.test",
      "access-control-request-method": "PATCH",
      "access-control-request-headers": "authorization,content-type,x-request-id",
    };
    const preflight = await http(scene.gateway(), "OPTIONS", `${CONVERSATIONS}/${randomUUID()}`, { headers });
    assert.equal(preflight.status, 200, "without a token");
    const listed = (name) => preflight.headers.get(name).toLowerCase().split(",");
    assert.deepEqual(listed("access-control-allow-methods").sort(), ["delete", "get", "patch", "post", "put"]);
    assert.deepEqual(listed("access-control-allow-headers").sort(), ["authorization", "content-type", "x-request-id"]);
    assert.equal(preflight.headers.get("access-control-max-age"), "7200");
    const refused = await http(scene.gateway(), "GET", "/api/v1/contacts", { headers: { origin: "https://page.test" } });
    httpRefused(refused, 401, "unauthorized");
    assert.equal(refused.headers.get("access-control-allow-origin"), "*");
    assert.deepEqual(refused.headers.get("access-control-expose-headers").split(",").sort(), ["retry-after", "x-request-id"]);
    assert.equal(refused.headers.get("access-control-allow-credentials"), null);
  });

  call("a body of as many bytes as there may be is taken, and one byte more is not", async (scene) => {
    const alice = scene.user("alice");
    const target = `${CONVERSATIONS}/${await scene.group([alice])}/messages`;
    const message = { message_type: "text", content: "é", client_random: randomUUID(), more: "" };
    const spare = MAX_BYTES - Buffer.byteLength(JSON.stringify(message));
    const body = (bytes) => JSON.stringify({ ...message, more: "x".repeat(bytes) });
    const taken = await scene.as(alice, "POST", target, body(spare));
    assert.equal(taken.status, 201, JSON.stringify(taken.body));
    const refused = await scene.as(alice, "POST", target, body(spare + 1));
    httpRefused(refused, 413, "message_too_large", ["max_bytes"]);
    assert.equal(refused.body.error.max_bytes, MAX_BYTES);
    const { body: found } = await scene.as(alice, "GET", target);
    assert.deepEqual(found.messages.map(({ seq }) => seq), [1]);
  });

  call("a parameter that a call does not have is refused, and so is one that comes twice", async (scene) => {
    const alice = scene.user("alice");
    const id = await scene.group([alice]);
    for (const query of ["?after=1", "?limit=1&limit=2", "?Limit=1"]) {
      const refused = await scene.as(alice, "GET", `${CONVERSATIONS}/${id}/messages${query}`);
      httpRefused(refused, 400, "validation_failed", ["errors"]);
    }
    const none = await scene.as(alice, "GET", `${CONVERSATIONS}/${id}?limit=1`);
    httpRefused(none, 400, "validation_failed", ["errors"]);
  });
});
