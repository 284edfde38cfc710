"""Three or a thousand app servers whose faults can be ordered, the proxy before them, and the client that asks at a fixed rate."""
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .admin import Admin
from .machine import answers, free_port, on_cores

BENCHES = Path(__file__).resolve().parent.parent
PROXY_CORES, OTHER_CORES = (0,), (1,)
FORMS = {
    "cutover": ("failures.toml", '"{address}"', ", ", ["{cutover}", "run", "--config", "{config}"]),
    "haproxy": ("failures.cfg", "  server s{number} {address}", "\n", ["haproxy", "-db", "-f", "{config}"]),
    "nginx": ("failures.conf", "    server {address} max_fails=5 fail_timeout=10s;", "\n", ["nginx", "-p", "{dir}", "-c", "{config}", "-g", "daemon off;"]),
}


class App:
    """One process of app servers, on a port of several addresses of loopback."""

    def __init__(self, name, seed, folder, processes, hosts=("127.0.0.1",)):
        self.name, self.seed, self.hosts, self.processes = name, seed, hosts, processes
        self.port, self.log = free_port(), folder / f"{name}.log"
        self.start()

    def start(self):
        words = ["node", str(BENCHES / "apps" / "faulty.js"), self.name, str(self.seed), str(self.port), *self.hosts]
        self.process = self.processes.start(OTHER_CORES, words, self.log)
        if not answers(self.port, self.process):
            sys.exit(f"the app server {self.name} did not start:\n{self.log.read_text()}")

    def kill(self):
        """SIGKILL; returns when it began and when it was over."""
        begun = time.monotonic()
        self.processes.kill(self.process)
        return begun, time.monotonic()

    def replace(self, seconds):
        """As an operator does: SIGTERM, wait for the end of it, and start after `seconds`. Returns from when to when it closed its connections."""
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)
        closed = self.log.read_text().splitlines()[-1].split()
        time.sleep(max(0, begun + seconds - time.monotonic()))
        self.start()
        return float(closed[1]), float(closed[2])

    def hang(self):
        """The kernel goes on accepting for it, nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

    def mode(self, **values):
        self._ask("/mode?" + "&".join(f"{key}={value}" for key, value in values.items()))

    def count(self):
        return int(self._ask("/count"))

    def numbers(self):
        """Those of the requests that came since it was asked before, each as often as it came."""
        return self._ask("/numbers").split()

    def seen(self):
        """When the first and the last request came since it was asked before; both 0 where none did."""
        first, last = map(float, self._ask("/seen").split())
        return first, last

    def _ask(self, path):
        with urllib.request.urlopen(f"http://{self.hosts[0]}:{self.port}{path}", timeout=10) as answer:
            return answer.read().decode()


@dataclass
class Line:
    begun: float
    ms: float
    outcome: str
    who: str

    @property
    def failed(self):
        return self.outcome != "200"

    @property
    def ended(self):
        return self.begun + self.ms / 1e3

    def was_on_its_way(self, begun, ended):
        return self.begun <= ended and self.ended >= begun


class Client:
    """Runs in a process of its own until `lines` waits for its end, or `stop` ends it."""

    def __init__(self, site, seconds, method="GET", clients=1):
        self.log, self.due = site.dir / "client.log", site.rate * seconds
        words = ["node", str(BENCHES / "apps" / "steady.js"), *map(str, (site.port, site.rate, seconds, method, self.log, clients))]
        self.begun = time.monotonic()
        self.process = subprocess.Popen(on_cores(OTHER_CORES, words))

    def lines(self):
        if self.process.wait(120):
            sys.exit("the client broke off")
        lines = [Line(float(begun), float(ms), outcome, who) for begun, ms, outcome, who in (text.split() for text in self.log.read_text().splitlines())]
        if self.due is not None and len(lines) != self.due:
            sys.exit(f"the client has written down {len(lines)} of {self.due} requests")
        return lines

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.due = None
        return self.lines()

    def until(self, seconds):
        """Waits until it has been asking for so long."""
        time.sleep(max(0, self.begun + seconds - time.monotonic()))


class Site:
    """A proxy, alone on its core, before app servers. Waits until all of them are served from."""

    def __init__(self, name, apps, folder, processes, options, rise=2, fall=3):
        self.name, self.apps, self.dir, self.processes, self.rate = name, apps, folder, processes, options.rate
        self.port = free_port()
        template, server, separator, command = FORMS[name]
        addresses = [f"{host}:{app.port}" for app in apps for host in app.hosts]
        endpoints = separator.join(server.format(number=number, address=address) for number, address in enumerate(addresses))
        text = (BENCHES / "peers" / template).read_text()
        for key, value in {"DIR": folder, "PORT": self.port, "ENDPOINTS": endpoints, "RISE": rise, "FALL": fall}.items():
            text = text.replace(f"@{key}@", str(value))
        config = folder / template
        config.write_text(text)
        words = [word.format(dir=folder, config=config, cutover=options.cutover) for word in command]
        self.process = processes.start(PROXY_CORES, words, folder / "proxy.log")
        if not answers(self.port, self.process):
            sys.exit(f"{name} does not serve:\n" + (folder / "proxy.log").read_text()[-4000:])
        self.until_all_serve()

    def until_all_serve(self, seconds=30):
        """By the app servers' own counts: a proxy may leave out those that its probes have not passed yet."""
        before, end = [app.count() for app in self.apps], time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(10 * len(self.apps)):
                self._get()
            if all(app.count() > count for app, count in zip(self.apps, before, strict=True)):
                return
        sys.exit(f"{self.name} does not ask all of its app servers")

    def _get(self):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=10).close()
        except OSError:
            time.sleep(0.05)

    def client(self, seconds, method="GET"):
        return Client(self, seconds, method)

    def generation(self):
        return Admin(self.dir / "admin.sock").call("GET", "/v1/status")["generation"]

    def stop(self):
        for app in self.apps:
            app.wake()
        self.processes.stop(self.process, *(app.process for app in self.apps))


def percentile(lines, percent):
    return statistics.quantiles((line.ms for line in lines), n=100)[percent - 1]


def within(lines, begun, ended):
    return [line for line in lines if begun <= line.begun < ended]


