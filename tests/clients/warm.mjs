// Writes a little to the gateways of `SIMURGH_WALK_GATEWAYS`, and ends: a store that has just started takes seconds for
// its first calls where the machine is slow.

import { Scene } from "./support.mjs";

const scene = new Scene();
for (let n = 0; n < 10; n += 1) await scene.group([scene.user("first"), scene.user("second")]);
