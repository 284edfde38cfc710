"""nginx and HAProxy in the place of Cutover: what the same clients see when *their* file is edited and reloaded.

This is the control of the whole method: both are known to lose a few requests of keep-alive clients at a reload.
"""
import os
import signal
import time

from .events import POOLS, Trouble, quiet
from .machine import answers

NGINX = """worker_processes 2;
pid {dir}/peer.pid;
error_log {dir}/peer.err crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  upstream app {{ {servers} keepalive 256; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    client_max_body_size 16m;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
    }}
  }}
}}
"""
HAPROXY = """global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend app
backend app
  balance roundrobin
{servers}
"""
FORMS = {
    "nginx": (NGINX, "server {address} weight={weight};", " ", ["nginx", "-p", "{dir}", "-c", "{config}", "-g", "daemon off;"], signal.SIGHUP),
    "haproxy": (HAPROXY, "  server {name} {address} weight {weight}", "\n", ["haproxy", "-W", "-db", "-f", "{config}"], signal.SIGUSR2),
}


class PeerSite:
    """As much of a `Site` as the soak needs."""

    def __init__(self, name, folder, port, pools, dice, processes):
        self.text, self.server, self.separator, command, self.signal = FORMS[name]
        self.dir, self.port, self.pools, self.dice = folder, port, pools, dice
        self.kills, self.gaps = [], []
        self.path = folder / "peer.conf"
        self.write(90, 10)
        words = [word.format(dir=folder, config=self.path) for word in command]
        self.proxy = processes.start(range(os.cpu_count()), words, folder / "proxy.log")
        if not answers(port, self.proxy):
            raise Trouble(f"{name} does not serve:\n" + (folder / "proxy.log").read_text()[-4000:])

    def apps(self):
        return [app for apps in self.pools.values() for app in apps]

    def write(self, *weights):
        lines = [
            self.server.format(name=app.name, address=app.address, weight=weight)
            for pool, weight in zip(POOLS, weights, strict=True)
            for app in self.pools[pool]
        ]
        self.path.write_text(self.text.format(dir=self.dir, port=self.port, servers=self.separator.join(lines)))


def edit_and_reload(site, number):
    green = site.dice.randrange(1, 100)
    site.write(100 - green, green)
    site.proxy.send_signal(site.signal)
    time.sleep(0.5)


def phases(scale):
    return [("quiet (negative control)", quiet, max(2, round(50 * scale))), ("edit and reload", edit_and_reload, max(2, round(50 * scale)))]
