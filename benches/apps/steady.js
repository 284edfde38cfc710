// A client that asks at a fixed rate whatever the answers, on kept connections, and never twice: steady.js PORT RATE SECONDS METHOD LOG [CLIENTS]
//
// Each request has a number of its own (`X-Number`) and is one of the clients' (1), who have an address of loopback each, by turns. SIGTERM: no new requests, what is under way ends.
// A line per request: when it began (seconds of the monotonic clock), how long it took (ms), status or the error's name, who answered.
const fs = require('fs');
const http = require('http');

const [port, rate, seconds, method, log, among = 1] = process.argv.slice(2);
const clients = Number(among);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 4096 });
const out = fs.createWriteStream(log);
const now = () => Number(process.hrtime.bigint()) / 1e9;
let total = Number(rate) * Number(seconds);
const start = now();
let begun = 0;
let ended = 0;

function close() {
  if (ended === total) out.end(() => process.exit(0));
}

function ask() {
  const at = now();
  const done = (outcome, who) => {
    out.write(`${at.toFixed(6)} ${((now() - at) * 1e3).toFixed(3)} ${outcome} ${who}\n`);
    ended += 1;
    close();
  };
  // Bound only where it must be: to find a free port by itself is slow for the kernel once many are in use.
  const localAddress = clients > 1 ? `127.0.0.${1 + (begun % clients)}` : undefined;
  const headers = { 'X-Number': begun };
  const options = { host: '127.0.0.1', localAddress, port, method, path: '/', headers, agent, timeout: 20000 };
  let over = false;
  const once = (outcome, who) => { if (!over) { over = true; done(outcome, who); } };
  const request = http.request(options, (response) => {
    response.resume();
    response.on('end', () => once(response.complete ? response.statusCode : 'cut', response.headers['x-server'] || '-'));
    response.on('error', () => once('cut', '-'));
  });
  request.on('timeout', () => request.destroy(new Error('late')));
  request.on('error', (error) => once(error.code || error.message, '-'));
  request.end(method === 'POST' ? 'y'.repeat(100) : undefined);
}

function tick() {
  const due = Math.min(total, Math.floor((now() - start) * Number(rate)));
  while (begun < due) { begun += 1; ask(); }
  if (begun < total) setTimeout(tick, 1);
}
process.on('SIGTERM', () => {
  total = begun;
  close();
});
tick();
