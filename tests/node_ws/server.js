// An echo by the npm package ws, over TCP and TLS: node server.js WS KEY CERTIFICATE, until the standard input ends.
// A URL's path is its perMessageDeflate option, as JSON; with ?fragments it sends back in three fragments.
const { readFileSync } = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const [, , ws, key, cert] = process.argv;
const { WebSocketServer } = require(ws);

function echo(socket, fragments) {
  socket.on("message", (data, binary) => {
    if (!fragments) {
      socket.send(data, { binary });
      return;
    }
    const third = Math.floor(data.length / 3);
    socket.send(data.subarray(0, third), { binary, fin: false });
    socket.send(data.subarray(third, 2 * third), { binary, fin: false });
    socket.send(data.subarray(2 * third), { binary, fin: true });
  });
}

function upgrade(request, socket, head) {
  const [path, query] = request.url.split("?");
  const perMessageDeflate = JSON.parse(decodeURIComponent(path.slice(1)));
  const server = new WebSocketServer({ noServer: true, perMessageDeflate, maxPayload: 2 ** 26 });
  server.handleUpgrade(request, socket, head, (accepted) => echo(accepted, query === "fragments"));
}

const servers = [http.createServer(), https.createServer({ key: readFileSync(key), cert: readFileSync(cert) })];
let waiting = servers.length;
for (const server of servers) {
  server.on("upgrade", upgrade);
  server.listen(0, "127.0.0.1", () => {
    waiting -= 1;
    if (!waiting) console.log(JSON.stringify(servers.map((one) => one.address().port)));
  });
}
process.stdin.on("end", () => process.exit()).resume();
