// An app server whose faults can be ordered: faulty.js NAME SEED PORT ADDRESS...
//
// `/healthz` passes, except that the first `flapping` addresses fail it every other second. `/mode?ms=5&spread=0&errors=0&status=500&flapping=0`
// sets how long an answer takes at least and how much more on average, which part of them is `status` instead, and how many addresses flap.
// `/count` tells how many requests came, `/numbers` their `X-Number`s since it was asked before, `/seen` when the first and the last since it was asked before (seconds of the monotonic clock, 0: none).
// Everything else is 1 KiB. SIGTERM: no new connections, what is under way ends.
const fs = require('fs');
const http = require('http');

const [name, seed, port, ...addresses] = process.argv.slice(2);
const page = Buffer.alloc(1024, 'x');
const mode = { ms: 5, spread: 0, errors: 0, status: 500, flapping: 0 };
let count = 0;
let numbers = [];
let seen = [0, 0];
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

// Most answers take little more, a few much: p95 is three times `spread` above `ms`.
function wait() {
  return mode.spread ? mode.ms - mode.spread * Math.log(1 - draw()) : mode.ms;
}

function note(request) {
  const now = Number(process.hrtime.bigint()) / 1e9;
  seen = [seen[0] || now, now];
  count += 1;
  numbers.push(request.headers['x-number']);
}

function tell(response) {
  reply(response, 200, seen.map((at) => at.toFixed(6)).join(' '));
  seen = [0, 0];
}

function enumerate(response) {
  reply(response, 200, numbers.join(' '));
  numbers = [];
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
  if (url.pathname === '/numbers') return enumerate(response);
  if (url.pathname === '/seen') return tell(response);
  note(request);
  const status = draw() < mode.errors ? mode.status : 200;
  return mode.ms ? setTimeout(() => reply(response, status, page), wait()) : reply(response, status, page);
}

const servers = addresses.map((host) => http.createServer((request, response) => {
  request.resume();
  request.on('end', () => answer(request, response));
}).listen({ host, port: Number(port), backlog: 4096 }));

const now = () => Number(process.hrtime.bigint()) / 1e9;

// Says from when to when (seconds of the monotonic clock) it closed its connections: what came on one and was not read yet is lost.
process.on('SIGTERM', () => {
  const begun = now();
  for (const server of servers) server.close();
  for (const server of servers) server.closeIdleConnections();
  fs.writeSync(1, `closed ${begun} ${now()}\n`);
});
