"""An app server on Python's http.server: app.py NAME PORT LOG. See `harness/apps.py` for what it answers."""
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NAME, PORT, LOG = sys.argv[1], int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
PIECE, PIECES = b"x" * 16384, 16


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        kind, _, ident = url.path.strip("/").partition("/")
        if kind == "healthz":
            return self.reply(b"ok")
        received = self.drain()
        os.write(LOG, f"{self.command} {ident}\n".encode())
        time.sleep(int(parse_qs(url.query).get("ms", ["0"])[0]) / 1000)
        return self.stream(ident) if kind == "big" else self.reply(f"{received}".encode(), ident)

    do_POST = do_GET

    def drain(self):
        """Reads the body, sized or chunked, and returns its length."""
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return len(self.rfile.read(int(self.headers.get("content-length", 0))))
        total = 0
        while size := int(self.rfile.readline().split(b";")[0], 16):
            total += len(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return total

    def head(self, ident, header, value):
        self.send_response(200)
        self.send_header("X-Server", NAME)
        self.send_header("X-Id", ident)
        self.send_header(header, value)
        self.end_headers()

    def reply(self, body, ident="-"):
        self.head(ident, "Content-Length", len(body))
        self.wfile.write(body)

    def stream(self, ident):
        self.head(ident, "Transfer-Encoding", "chunked")
        for _ in range(PIECES):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(PIECE), PIECE))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 512
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A connection that the proxy closed is none of our trouble."""


Server(("127.0.0.1", PORT), App).serve_forever()
