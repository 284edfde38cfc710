"""What a change costs when there is a lot to publish: 1 000 services of 10 endpoints, and what it does to traffic's p99.

The time is from the admin call to its answer, with the state in memory, so HTTP and the merge are in it: an upper bound. The
control thread shares core 0 with the worker, which is the hardest case. Probes run once a minute here: 10 000 a second would be
the greater part of the load.
"""
import statistics
import threading
import time

from . import load
from .admin import Admin
from .figures import Figure, print_table
from .proxies import state_folder

SERVICES, ENDPOINTS, CONNECTIONS, RATE = 1000, 10, 64, 8000
PAUSE = 0.1
HEAD = """state_dir = "@STATE@"
workers = @WORKERS@
admin = { address = "unix:@DIR@/admin.sock" }
telemetry = { address = "127.0.0.1:@METRICS@" }
startup = { wait = "60s" }

[[listeners]]
address = "127.0.0.1:@PORT@"

[[routes]]
service = "s0000"

[defaults]
probe = { path = "/1k", interval = "60s", timeout = "10s", rise = 1 }
"""
SERVICE = """
[services.{name}]
hosts = ["{name}.example"]
weights = {{ blue = 90, green = 10 }}
pools.blue.endpoints = [{blue}]
pools.green.endpoints = [{green}]
"""


def config():
    def addresses(port):
        return ", ".join(f'"127.0.0.{n + 1}:@{port}@"' for n in range(ENDPOINTS // 2))

    services = (SERVICE.format(name=f"s{n:04}", blue=addresses("BLUE"), green=addresses("GREEN")) for n in range(SERVICES))
    return HEAD + "".join(services)


class Publishing(threading.Thread):
    """Changes a service's weights over and over and notes how long each call took, in milliseconds."""

    def __init__(self, admin):
        super().__init__(daemon=True)
        self.admin, self.times, self.done, self.failure = admin, [], threading.Event(), None

    def run(self):
        green = 10
        try:
            while not self.done.wait(PAUSE):
                green = 30 - green
                begun = time.perf_counter()
                self.admin.weights("s0500", blue=100 - green, green=green)
                self.times.append((time.perf_counter() - begun) * 1e3)
        except (OSError, RuntimeError) as problem:
            self.failure = problem


def run(stage, options):
    template = stage.dir / "many.toml"
    template.write_text(config())
    with state_folder(in_memory=True) as state:
        proxy = stage.start("cutover", template=template, state=state)
        rounds = [one_round(stage, proxy, options) for _ in range(options.rounds)]
        stage.stop(proxy)
    quiet, busy, times = zip(*rounds, strict=True)
    return report(quiet, busy, sum(times, []))


def one_round(stage, proxy, options):
    """Traffic without changes, traffic with changes, and how long those took."""
    quiet = at_rate(stage, proxy, options)
    publishing = Publishing(Admin(proxy.dir / "admin.sock"))
    publishing.start()
    busy = at_rate(stage, proxy, options)
    publishing.done.set()
    publishing.join()
    if publishing.failure:
        raise publishing.failure
    return quiet, busy, publishing.times


def at_rate(stage, proxy, options):
    return load.fixed_rate(stage.other_cores, proxy.url("1k"), CONNECTIONS, RATE, options.secs, stage.dir / "h2load.log")


def report(quiet, busy, times):
    p50, p99 = ([statistics.median(getattr(r, name) for r in runs) for runs in (quiet, busy)] for name in ("p50", "p99"))
    print(f"\n## Publishing {SERVICES} services x {ENDPOINTS} endpoints, every {PAUSE * 1e3:.0f} ms, under {RATE} requests/s\n")
    print_table(["", "p50 us", "p99 us", "errors"], [
        ["no changes", f"{p50[0]:.0f}", f"{p99[0]:.0f}", sum(r.errors for r in quiet)],
        [f"{len(times)} changes", f"{p50[1]:.0f}", f"{p99[1]:.0f}", sum(r.errors for r in busy)],
    ])
    took = statistics.median(times)
    return [
        Figure("publish, 1 000 services x 10 endpoints: call to answer", took, 50, 10, " ms", strict=True, note=f"worst {max(times):.1f} ms"),
        Figure("the same: p99 of traffic with changes vs without", p99[1] / p99[0], 1.1, 1.0, note=f"{p99[1]:.0f} us vs {p99[0]:.0f} us"),
    ]
