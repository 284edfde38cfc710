"""The proxies under comparison and the app servers behind them: how each is configured and started."""
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from . import load
from .machine import Cpu, Processes, answers, free_port, rss_mib

PEERS = Path(__file__).resolve().parent.parent / "peers"
ROOT = PEERS.parent.parent
SIZES = {"1k": 1 << 10, "64k": 1 << 16, "1m": 1 << 20}
RELEASE = ROOT / "target" / "release"
HYPER_BINARY = RELEASE / "examples" / "hyper"
NAMES = ("nginx", "haproxy", "cutover")
# What Cutover is built on, alone: `benches/peers/hyper.rs`. It knows no TLS, no weights and no settings.
HYPER = "hyper"

COMMANDS = {
    "nginx": (PEERS / "nginx.conf", ["nginx", "-p", "{dir}", "-c", "{config}", "-g", "daemon off;"]),
    "haproxy": (PEERS / "haproxy.cfg", ["haproxy", "-db", "-f", "{config}"]),
    "cutover": (PEERS / "cutover.toml", ["{cutover}", "run", "--config", "{config}"]),
    HYPER: (None, ["{hyper}", "{port}", "{endpoint}"]),
}


# What a listener needs to speak TLS; {0} holds cert.pem, key.pem, and both.pem with the two of them. No tickets, so that each connection is a whole handshake.
TLS = {
    "nginx": " ssl http2; ssl_certificate {0}/cert.pem; ssl_certificate_key {0}/key.pem; ssl_session_cache off; ssl_session_tickets off;"
    " ssl_protocols TLSv1.2 TLSv1.3; http2_max_concurrent_streams 256; http2_max_requests 1000000000; keepalive_requests 1000000000",
    "haproxy": " ssl crt {0}/both.pem alpn h2,http/1.1",
    "cutover": 'tls.certificates = [{{ cert = "{0}/cert.pem", key = "{0}/key.pem" }}]',
}


@dataclass
class Sample:
    """One proxy under one load for a few seconds. CPU in microseconds per request, memory in MiB."""

    load: load.Result
    cpu: float
    user: float
    busy: float
    rss: float


@dataclass
class Proxy:
    name: str
    port: int
    process: subprocess.Popen
    dir: Path
    scheme: str = "http"

    def url(self, path):
        return f"{self.scheme}://127.0.0.1:{self.port}/{path}"

    def sample(self, run):
        """Runs a load and puts down what it cost this proxy."""
        before = Cpu.of(self.process.pid)
        result = run()
        spent = Cpu.of(self.process.pid) - before
        per_request = 1e6 / max(1, result.requests)
        return Sample(result, spent.seconds * per_request, spent.user * per_request, spent.seconds / result.seconds, rss_mib(self.process.pid))


class Stage:
    """App servers and proxies in a folder of their own. Core 0 is the proxies', core 1 everybody else's."""

    proxy_cores = (0,)
    other_cores = (1,)

    def __init__(self, folder, cutover, processes: Processes):
        self.dir, self.cutover, self.processes = Path(folder), cutover, processes
        self.dir.chmod(0o755)  # nginx's workers are somebody else
        self.ports = {"BLUE": free_port(), "GREEN": free_port(), "ECHO": free_port()}
        self._started = 0

    def start_apps(self):
        www = self._folder("apps") / "www"
        www.mkdir(exist_ok=True)
        for name, size in SIZES.items():
            (www / name).write_bytes(b"x" * size)
        config = self.render(PEERS / "app.conf", www.parent)
        process = self.processes.start(self.other_cores, ["nginx", "-p", str(www.parent), "-c", str(config), "-g", "daemon off;"], www.parent / "log")
        echo = self.processes.start(self.other_cores, ["node", str(PEERS.parent / "apps" / "tunnel.js"), str(self.ports["ECHO"])], www.parent / "log")
        if not all(answers(self.ports[name], process) for name in ("BLUE", "GREEN")) or not answers(self.ports["ECHO"], echo):
            sys.exit("the app servers did not start:\n" + (www.parent / "log").read_text())

    def start(self, name, workers=1, cores=None, template=None, state=None, certificate=None):
        """Starts a proxy and waits until it serves, over TLS where it is given a certificate; every proxy has a folder of its own."""
        self._started += 1
        folder, port = self._folder(f"{name}-{self._started}"), free_port()
        default, command = COMMANDS[name]
        values = {"DIR": folder, "STATE": state or folder / "state", "PORT": port, "METRICS": free_port(), "WORKERS": workers, "TLS": TLS[name].format(certificate) if certificate else ""}
        template = template or default
        config = template and self.render(template, folder, **values)
        words = [word.format(dir=folder, config=config, cutover=self.cutover, hyper=HYPER_BINARY, port=port, endpoint=self.ports["BLUE"]) for word in command]
        process = self.processes.start(cores or self.proxy_cores, words, folder / "log")
        proxy = Proxy(name, port, process, folder, "https" if certificate else "http")
        if not answers(port, process) or not serves(proxy):
            sys.exit(f"{name} does not serve:\n" + (folder / "log").read_text()[-4000:])
        return proxy

    def stop(self, *proxies):
        self.processes.stop(*(proxy.process for proxy in proxies))

    def render(self, template, folder, **values):
        """Fills `@NAME@`s of a config file; a name that nobody filled is a mistake of ours."""
        text = Path(template).read_text()
        for key, value in {**self.ports, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = folder / Path(template).name
        path.write_text(text)
        return path

    def _folder(self, name):
        folder = self.dir / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def serves(proxy, seconds=60):
    """Waits for right answers: probes may have to pass first, and a figure for error pages is no figure."""
    end = time.monotonic() + seconds
    context = ssl._create_unverified_context() if proxy.scheme == "https" else None
    while time.monotonic() < end:
        try:
            return all(len(urllib.request.urlopen(proxy.url(name), timeout=5, context=context).read()) == size for name, size in SIZES.items())
        except OSError:
            time.sleep(0.1)
    return False


def build_cutover():
    """The binary as users get it."""
    build("--bin", "cutover")
    return RELEASE / "cutover"


def build(*target):
    subprocess.run(["cargo", "build", "--release", "--quiet", *target], cwd=ROOT, check=True)


def state_folder(in_memory):
    """A folder for state, on disk or on memory, where fsync costs nothing; gone when the `with` ends."""
    return tempfile.TemporaryDirectory(prefix="cutover-state-", dir="/dev/shm" if in_memory else None)
