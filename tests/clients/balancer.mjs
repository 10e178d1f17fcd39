// A balancer without stickiness: each request goes to the next gateway, and WebSockets do not get through.

import { once } from "node:events";
import { Agent, createServer, request as ask } from "node:http";

/** Starts one on a free port; `gateways()` answers the addresses that are in turn. `{url, stop}`. */
export async function startBalancer(gateways) {
  const agent = new Agent({ keepAlive: true });
  let turn = 0;
  const server = createServer((request, response) => {
    const { hostname, port } = new URL(gateways()[(turn += 1) % gateways().length]);
    const { method, url: path, headers } = request;
    const onward = ask({ hostname, port, method, path, headers, agent }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    onward.on("error", () => {
      if (!response.headersSent) response.writeHead(502);
      response.end();
    });
    // A client that goes away is gone for the gateway, too.
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  });
  server.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n"));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  server.unref();
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    stop() {
      server.close();
      server.closeAllConnections();
      agent.destroy();
    },
  };
}
