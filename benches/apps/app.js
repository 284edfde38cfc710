// An app server on Node's http, with its default timeouts: app.js NAME PORT LOG. See `harness/apps.py` for what it answers.
const fs = require('fs');
const http = require('http');

const [name, port, logPath] = process.argv.slice(2);
const log = fs.openSync(logPath, 'a');
const piece = Buffer.alloc(16384, 'x');
const pieces = 16;

function answer(request, response, received) {
  const url = new URL(request.url, 'http://app');
  const [, kind, id = '-'] = url.pathname.split('/');
  response.setHeader('X-Server', name);
  response.setHeader('X-Id', id);
  if (kind === 'healthz') return response.end('ok');
  fs.writeSync(log, `${request.method} ${id}\n`);
  const wait = Number(url.searchParams.get('ms') || 0);
  return setTimeout(() => (kind === 'big' ? stream(response) : response.end(String(received))), wait);
}

function stream(response, sent = 0) {
  if (sent === pieces) return response.end();
  return response.write(piece, () => stream(response, sent + 1));
}

http.createServer((request, response) => {
  let received = 0;
  request.on('data', (data) => { received += data.length; });
  request.on('end', () => answer(request, response, received));
}).listen({ host: '127.0.0.1', port: Number(port), backlog: 512 });
