// An app server whose faults can be ordered: faulty.js NAME SEED PORT ADDRESS...
//
// `/healthz` passes, except that the first `flapping` addresses fail it every other second. `/mode?ms=5&errors=0&status=500&flapping=0`
// sets how long an answer takes, which part of them is `status` instead, and how many addresses flap. `/count` tells how many requests
// came. Everything else is 1 KiB. SIGTERM: no new connections, what is under way ends.
const http = require('http');

const [name, seed, port, ...addresses] = process.argv.slice(2);
const page = Buffer.alloc(1024, 'x');
const mode = { ms: 5, errors: 0, status: 500, flapping: 0 };
let count = 0;
let dice = Number(seed) || 1;

// Park and Miller's generator: the same faults in every run of a seed.
function draw() {
  dice = (dice * 48271) % 2147483647;
  return dice / 2147483647;
}

function healthy(address) {
  const number = addresses.indexOf(address);
  return number >= mode.flapping || Math.floor(Date.now() / 1000 + number) % 2 === 0;
}

function reply(response, status, body) {
  response.writeHead(status, { 'X-Server': name, 'Content-Length': body.length });
  response.end(body);
}

function order(url, response) {
  for (const [key, value] of url.searchParams) mode[key] = Number(value);
  reply(response, 200, JSON.stringify(mode));
}

function answer(request, response) {
  const url = new URL(request.url, 'http://app');
  if (url.pathname === '/healthz') return reply(response, healthy(request.socket.localAddress) ? 200 : 503, '');
  if (url.pathname === '/mode') return order(url, response);
  if (url.pathname === '/count') return reply(response, 200, String(count));
  count += 1;
  const status = draw() < mode.errors ? mode.status : 200;
  return mode.ms ? setTimeout(() => reply(response, status, page), mode.ms) : reply(response, status, page);
}

const servers = addresses.map((host) => http.createServer((request, response) => {
  request.resume();
  request.on('end', () => answer(request, response));
}).listen({ host, port: Number(port), backlog: 4096 }));

process.on('SIGTERM', () => {
  for (const server of servers) server.close();
  for (const server of servers) server.closeIdleConnections();
});
