"""What happens to the proxy and to the app servers while the clients ask: each phase does one kind of thing, many times."""
import contextlib
import os
import signal
import subprocess
import time
import urllib.request

from .admin import Admin
from .edits import Edits
from .machine import answers

SERVICE = "/v1/services/app"
POOLS = ("blue", "green")
CONFIG = """state_dir = "{dir}/state"
shutdown = {{ lame_duck = "500ms", deadline = "10s" }}

[admin]
address = "unix:{dir}/admin.sock"

[[listeners]]
address = "127.0.0.1:{port}"

[services.app]
weights = {{ blue = {blue}, green = {green} }}
probe = {{ path = "/healthz", interval = "200ms", timeout = "2s", rise = 2, fall = 3 }}
drain = {{ deadline = "20s" }}
pools.blue.endpoints = [{blues}]
pools.green.endpoints = [{greens}]
"""


class Trouble(Exception):
    """The proxy did not do what an event asked for."""


class Site:
    """The proxy as seen by an operator, and the app servers behind it.

    `kills` says when endpoints were killed, `gaps` when no proxy ran: what may fail then is told apart from what may not.
    """

    def __init__(self, config, pools, dice, processes, binary):
        self.edits, self.pools, self.dice = Edits(config.path), pools, dice
        self.config, self.processes, self.binary = config, processes, binary
        self.kills, self.gaps = [], []
        self.start()

    def start(self):
        folder = self.config.path.parent.parent
        log = folder / "proxy.log"
        command = [str(self.binary), "run", "--config", str(self.config.path)]
        self.proxy = self.processes.start(range(os.cpu_count()), command, log)
        if not answers(self.config.port, self.proxy):
            raise Trouble("cutover does not serve:\n" + log.read_text()[-4000:])
        self.admin = Admin(folder / "admin.sock")
        self.until_all_ready()
        self.until_served()

    def until_served(self):
        """Endpoints may be ready before a request is answered; that is for the ledger to judge, not for us."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.config.port}/healthz", timeout=20).close()
                return
            time.sleep(0.02)
        raise Trouble("nothing is served although all endpoints are ready")

    def service(self):
        return self.admin.call("GET", SERVICE)

    def until(self, what, true, seconds=20):
        """Looks again and again until `true(service)`; shows the last look when that takes too long."""
        end = time.monotonic() + seconds
        while not true(view := self.service()):
            if time.monotonic() > end:
                raise Trouble(f"waited {seconds} s for: {what}; last seen: {view}")
            time.sleep(0.02)
        return view

    def until_all_ready(self):
        return self.until("all endpoints ready", lambda view: all(pool["ready"] == pool["of"] for pool in view["pools"].values()))

    def apps(self):
        return [app for apps in self.pools.values() for app in apps]

    def kill(self, app):
        self.kills.append(app.kill())

    def endpoint(self, app):
        return f"{SERVICE}/pools/{app.name.split('-')[0]}/endpoints/{app.address}"


class Config:
    """The file: its text for given weights."""

    def __init__(self, path, port, pools):
        self.path, self.port, self.pools = path, port, pools

    def text(self, blue, green):
        listed = [", ".join(f'"{app.address}"' for app in self.pools[pool]) for pool in POOLS]
        return CONFIG.format(dir=self.path.parent.parent, port=self.port, blue=blue, green=green, blues=listed[0], greens=listed[1])


def quiet(site, number):
    time.sleep(0.2)


def weight_change(site, number):
    green = site.dice.choice((0, 1, 10, 50, 90, 100))
    site.admin.weights("app", blue=100 - green, green=green)
    time.sleep(0.02)


def live_edit(kind):
    def edit(site, number):
        """A value never used before, so that it can only come from this edit."""
        before = site.service()
        blue, green = 1000 + number, 1 + site.dice.randrange(1000)
        site.edits.kinds[kind](site.config.text(blue, green))
        if kind == "touch":
            time.sleep(0.4)
            if site.service()["weights"] != before["weights"]:
                raise Trouble("a touch changed weights")
            return
        site.until(f"weights {blue}/{green} after: {kind}", lambda view: view["weights"] == {"blue": blue, "green": green})

    return edit


def kill_and_restart(site, number):
    """Without a word to the proxy. What was on the way to that endpoint may fail, nothing else."""
    app = site.dice.choice(site.apps())
    site.kill(app)
    time.sleep(site.dice.uniform(0.0, 1.0))
    app.start()
    site.until_all_ready()


def drain_and_kill(site, number):
    """`safe_to_stop` is taken at its word: SIGKILL at once. Nothing may fail."""
    app = site.dice.choice(site.apps())
    answer = site.admin.call("POST", f"{site.endpoint(app)}/drain", {"deadline": "20s", "wait": "drained", "reason": "soak"})
    if not answer.get("safe_to_stop"):
        raise Trouble(f"drain of {app.name}: {answer}")
    app.kill()
    app.start()
    site.admin.call("POST", f"{site.endpoint(app)}/restore", {"reason": "soak"})
    site.until_all_ready()


def switch_and_replace(site, number):
    """Blue/green as it is meant: switch, wait until the old pool is drained, kill all of it, start its next version."""
    old = POOLS[number % 2]
    new = POOLS[(number + 1) % 2]
    answer = site.admin.call("POST", f"{SERVICE}/switch", {"to": new, "wait": "drained", "deadline": "20s", "ready_timeout": "20s", "reason": "soak"})
    site.until(f"{new} has all the traffic", lambda view: view["weights"].get(new) and not view["weights"].get(old))
    if answer.get("drained") is False:
        raise Trouble(f"switch to {new}: {answer}")
    for app in site.pools[old]:
        app.kill()
    for app in site.pools[old]:
        app.start()
    site.until_all_ready()


def switch_and_roll_back(site, number):
    old, new = POOLS[number % 2], POOLS[(number + 1) % 2]
    site.admin.call("POST", f"{SERVICE}/switch", {"to": old, "wait": "ready", "ready_timeout": "20s", "reason": "soak"})
    site.admin.call("POST", f"{SERVICE}/switch", {"to": new, "wait": "ready", "ready_timeout": "20s", "reason": "soak"})
    time.sleep(0.1)
    site.admin.call("POST", f"{SERVICE}/rollback", {"reason": "soak", "again": True})
    site.until(f"back on {old}", lambda view: view["weights"].get(old) and not view["weights"].get(new))


def terminate_and_start(site, number):
    """SIGTERM, and the proxy has to end by itself with 0. Nothing may be cut; new connections are refused while none runs."""
    begun = time.monotonic()
    site.proxy.send_signal(signal.SIGTERM)
    try:
        code = site.proxy.wait(15)
    except subprocess.TimeoutExpired:
        raise Trouble("the proxy did not end within 15 s of SIGTERM") from None
    if code:
        raise Trouble(f"the proxy ended with {code} after SIGTERM")
    site.start()
    site.gaps.append((begun, time.monotonic()))
    time.sleep(0.5)  # of ordinary service, so that there is something to lose next time


def phases(scale, kinds):
    """Name, event, how many times."""
    times = lambda count: max(2, round(count * scale))  # noqa: E731
    return [
        ("quiet (negative control)", quiet, times(50)),
        ("weight changes", weight_change, times(200)),
        *((f"live edit: {kind}", live_edit(kind), times(50)) for kind in kinds),
        ("kill -9 and restart", kill_and_restart, times(30)),
        ("drain, kill, restart, restore", drain_and_kill, times(30)),
        ("switch, kill the old pool", switch_and_replace, times(20)),
        ("switch and rollback", switch_and_roll_back, times(20)),
        ("SIGTERM and start again", terminate_and_start, times(10)),
    ]
