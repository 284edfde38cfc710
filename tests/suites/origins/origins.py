"""Real app servers that write down each request they read: one line, `METHOD TARGET`, in the file `seen`. Each answers 200 with the
header `x-origin`, so that its answers can be told from the proxy's own."""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from started import free_port, running  # noqa: E402

NODE = """
const fs = require("node:fs");
require("node:http").createServer((request, response) => {
  request.on("data", () => {});
  fs.appendFileSync("seen", `${request.method} ${request.url}\\n`);
  request.on("error", () => {});
  request.on("end", () => response.writeHead(200, { "x-origin": "node" }).end("ok"));
}).listen(Number(process.argv[2]), "127.0.0.1");
"""

WSGI = """
def app(environ, start_response):
    with open("seen", "a") as seen:
        seen.write(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}\\n")
    environ["wsgi.input"].read()
    start_response("200 OK", [("content-length", "2"), ("x-origin", "gunicorn")])
    return [b"ok"]
"""

ASGI = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    with open("seen", "a") as seen:
        seen.write(f"{scope['method']} {scope['raw_path'].decode()}\\n")
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2"), (b"x-origin", b"uvicorn")]})
    await send({"type": "http.response.body", "body": b"ok"})
"""

NGINX = """
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{}}
http {{
  log_format seen '$request_method $request_uri';
  access_log seen seen;
  client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
  server {{
    listen 127.0.0.1:{port};
    add_header x-origin nginx always;
    location / {{ proxy_pass http://127.0.0.1:{inner}; proxy_http_version 1.1; proxy_request_buffering on; }}
  }}
  server {{ listen 127.0.0.1:{inner}; access_log off; location / {{ return 200 ok; }} }}
}}
"""

APACHE = """
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
Listen 127.0.0.1:{port}
ErrorLog {folder}/error.log
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule alias_module /usr/lib/apache2/modules/mod_alias.so
LoadModule headers_module /usr/lib/apache2/modules/mod_headers.so
LogFormat "%m %U%q" seen
CustomLog {folder}/seen seen
Header always set x-origin apache
DocumentRoot {folder}/www
<Directory {folder}/www>
  Require all granted
</Directory>
AliasMatch ^/ {folder}/www/index.txt
"""


class Origin:
    """One app server, its port, and what it has seen."""

    def __init__(self, name, folder, port):
        self.name, self.folder, self.port = name, folder, port
        self.read = 0

    def seen(self):
        """The lines written since the last look."""
        path = self.folder / "seen"
        text = path.read_text(errors="replace") if path.exists() else ""
        lines = text[self.read :].splitlines()
        self.read = len(text)
        return lines


@contextlib.contextmanager
def origin(name, parent):
    folder = pathlib.Path(parent) / name
    folder.mkdir()
    folder.chmod(0o777)
    port = free_port()
    command = COMMANDS[name](folder, port)
    with running(*command, port=port, log=folder / "log", cwd=folder):
        yield Origin(name, folder, port)


def nginx(folder, port):
    (folder / "nginx.conf").write_text(NGINX.format(port=port, inner=free_port()))
    return ["nginx", "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off;"]


def apache(folder, port):
    (folder / "www").mkdir()
    (folder / "www" / "index.txt").write_text("ok")
    (folder / "apache.conf").write_text(APACHE.format(folder=folder, port=port))
    return ["apache2", "-f", str(folder / "apache.conf"), "-DFOREGROUND"]


def node(folder, port):
    (folder / "app.js").write_text(NODE)
    return ["node", "app.js", str(port)]


def gunicorn(folder, port):
    (folder / "app.py").write_text(WSGI)
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--threads", "4", "--keep-alive", "30", "app:app"]


def uvicorn(folder, port):
    (folder / "app.py").write_text(ASGI)
    return [sys.executable, "-m", "uvicorn", "--port", str(port), "--http", "httptools", "--log-level", "warning", "app:app"]


COMMANDS = {"nginx": nginx, "apache": apache, "node": node, "gunicorn": gunicorn, "uvicorn": uvicorn}
