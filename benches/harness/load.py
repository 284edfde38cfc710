"""The load generators: wrk for as much as goes, h2load for a fixed rate."""
import re
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .machine import on_cores

TIMES = {"us": 1, "ms": 1e3, "s": 1e6, "m": 6e7}
BYTES = {"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}


@dataclass
class Result:
    """What one run of a load generator saw. Times in microseconds; `requests` may end in a fraction, see `_served`."""

    requests: float
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self):
        return self.requests / self.seconds


def closed_loop(cores, url, connections, seconds, size=0, headers=()):
    """As many requests as `connections` can make, each sending its next when it has the last one's answer."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", *(word for header in headers for word in ("-H", header)), url]
    text = subprocess.run(on_cores(cores, command), capture_output=True, text=True, check=True).stdout
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m),", text)
    latency = {p: float(value) * TIMES[unit] for p, value, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)\b", text)}
    seconds = float(total[2]) * TIMES[total[3]] / 1e6
    return Result(_served(int(total[1]), text, size), seconds, latency.get("50", 0), latency.get("99", 0), _wrk_errors(text))


def streams(cores, url, connections, streams, seconds):
    """As many requests as `connections` can make over HTTP/2 with `streams` each at a time."""
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", url]
    text = subprocess.run(on_cores(cores, command), capture_output=True, text=True, check=True).stdout
    done, bad = (sum(map(int, re.search(pattern, text).groups())) for pattern in (r"(\d+) succeeded", r"(\d+) failed, (\d+) errored, (\d+) timeout"))
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", text)
    return Result(done, seconds, float(mean[1]) * TIMES[mean[2]], 0, bad)


def _served(finished, text, size):
    """Requests served. With large bodies a good part of the work is in answers that the end of the run cuts off: count bytes."""
    if size < 1 << 20:
        return finished
    amount, unit = re.search(r"([\d.]+)(B|KB|MB|GB) read", text).groups()
    return float(amount) * BYTES[unit] / size


def _wrk_errors(text):
    socket_errors = re.findall(r"(?:connect|read|write|timeout) (\d+)", text)
    bad_status = re.findall(r"Non-2xx or 3xx responses: (\d+)", text)
    return sum(map(int, socket_errors + bad_status))


def fixed_rate_command(url, connections, rate, seconds, log=None):
    command = ["h2load", "--h1", "-t1", f"-c{connections}", f"-D{seconds}", f"--rps={rate / connections:.3f}"]
    return [*command, *([f"--log-file={log}"] if log else []), url]


def fixed_rate(cores, url, connections, rate, seconds, log):
    """`rate` requests a second whatever the answers; h2load writes a line per request: when begun, status, microseconds."""
    Path(log).unlink(missing_ok=True)
    command = fixed_rate_command(url, connections, rate, seconds, log)
    text = subprocess.run(on_cores(cores, command), capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in Path(log).read_text().splitlines()]
    times = [int(line[2]) for line in lines if len(line) == 3]
    bad = sum(1 for line in lines if not line[1].startswith("2"))
    refused = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", text)
    cuts = statistics.quantiles(times, n=100)
    return Result(len(times), seconds, cuts[49], cuts[98], max(bad, sum(map(int, refused.groups()))))
