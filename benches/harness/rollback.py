"""The rollouts, one function each: what the new version is like, and the figures of what becomes of it."""
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import load
from .admin import Admin
from .faulty import BENCHES, PROXY_CORES, App, Client, percentile, within
from .figures import Figure, print_figures
from .machine import answers, free_port
from .proxies import ROOT, Stage, state_folder

CLIENTS = 32
OVER = ("succeeded", "failed", "superseded")
HALF = [{"share": "50%", "hold": "10m"}]


class Rollouts:
    """Those of the service `app`, from blue to green."""

    def __init__(self, admin):
        self.admin = admin

    def begin(self, **plan):
        """Returns the number of one without warm-up, so that nothing of it counts less than the rest."""
        body = {"to": "green", "plan": {"warm_up": "0ms", **plan}, "reason": "measured"}
        return self.admin.call("POST", "/v1/services/app/rollouts", body)["rollout"]["id"]

    def see(self, number):
        return self.admin.call("GET", f"/v1/rollouts/{number}")

    def wait(self, number, seconds, reached):
        end = time.monotonic() + seconds
        while not reached(rollout := self.see(number)):
            if rollout["paused"] or time.monotonic() > end:
                sys.exit(f"the rollout stays where it is: {rollout}")
            time.sleep(0.05)
        return rollout

    def serving(self, number):
        """Waits until green has its share."""
        return self.wait(number, 30, lambda rollout: rollout["phase"] in ("waiting", "extending") or rollout["stage"] in OVER)

    def over(self, number, outcome, *causes, seconds=30):
        """Waits until it is over, and in the way that was meant."""
        rollout = self.wait(number, seconds, lambda rollout: rollout["stage"] in OVER)
        cause = (rollout["cause"] or {}).get("kind")
        if rollout["stage"] != outcome or (causes and cause not in causes):
            sys.exit(f"the rollout has {rollout['stage']}: {rollout['cause']}")
        return rollout


class Site:
    """Two versions, an app server each, and the proxy before them."""

    def __init__(self, folder, processes, options, state):
        self.dir, self.processes, self.rate, self.port = Path(folder), processes, options.rate, free_port()
        self.blue, self.green = (App(name, options.seed + number, self.dir, processes) for number, name in enumerate(("blue", "green")))
        text = (BENCHES / "peers" / "rollback.toml").read_text()
        for key, value in {"DIR": folder, "STATE": state, "PORT": self.port, "BLUE": self.blue.port, "GREEN": self.green.port}.items():
            text = text.replace(f"@{key}@", str(value))
        config = self.dir / "rollback.toml"
        config.write_text(text)
        self.process = processes.start(PROXY_CORES, [str(options.cutover), "run", "--config", str(config)], self.dir / "proxy.log")
        if not answers(self.port, self.process):
            sys.exit("cutover does not serve:\n" + (self.dir / "proxy.log").read_text()[-4000:])
        self.rollouts = Rollouts(Admin(self.dir / "admin.sock"))

    def client(self, seconds=600):
        return Client(self, seconds, clients=CLIENTS)

    def modes(self, blue, green):
        """Nothing but what is ordered is wrong with them."""
        for app, mode in ((self.blue, blue), (self.green, green)):
            app.mode(**{"ms": 0, "spread": 0, "errors": 0, **mode})
        self.green.seen()

    def stop(self):
        self.processes.stop(self.process, self.blue.process, self.green.process)


class Scene:
    """Makes sites in folders of their own."""

    def __init__(self, folder, processes, options):
        self.dir, self.processes, self.options, self._made = Path(folder), processes, options, 0
        self.dir.chmod(0o755)  # nginx's workers are somebody else

    def folder(self):
        self._made += 1
        folder = self.dir / str(self._made)
        folder.mkdir()
        return folder

    @contextlib.contextmanager
    def site(self, state=None):
        folder = self.folder()
        site = Site(folder, self.processes, self.options, state or folder / "state")
        try:
            yield site
        finally:
            site.stop()


def errors(scene, rescue):
    """Green answers nothing but 500, from its first request at 5 % on. Milliseconds until its last one; failures that users saw."""
    taken, failed = [], []
    with scene.site() as site:
        site.modes({}, {"errors": 1, "status": 500})
        for _ in range(scene.options.rounds):
            client = site.client()
            client.until(1)
            number = site.rollouts.begin(steps=[{"share": "5%", "hold": "10m"}], rescue={"enabled": rescue})
            site.rollouts.over(number, "failed", "guard")
            time.sleep(1)  # whoever still asked green would be seen
            failed.append(sum(line.failed for line in client.stop()))
            first, last = site.green.seen()
            taken.append((last - first) * 1e3)
    return taken, failed


def errors_rescued(scene):
    taken, failed = errors(scene, rescue=True)
    return [
        time_figure("only 500s at 5 %, rescue on: first to last request on it", taken, 1000, 150, "ms", "common practice < 30 s"),
        Figure("the same: failures that users saw", max(failed), 0, 0, note=f"of each round: {listed(failed)}; common practice 0"),
    ]


def errors_felt(scene):
    taken, failed = errors(scene, rescue=False)
    return [
        time_figure("only 500s at 5 %, rescue off: first to last request on it", taken, 1000, 150, "ms", "common practice < 30 s"),
        Figure("the same: failures that users saw", max(failed), 10, 5, note=f"of each round: {listed(failed)}"),
    ]


def slow(scene):
    """Green takes half as long again as blue for everything, and has 25 %."""
    taken, looked = [], set()
    with scene.site() as site:
        site.modes({"ms": 20, "spread": 4}, {"ms": 30, "spread": 6})
        for _ in range(max(2, scene.options.rounds // 2)):
            client = site.client()
            client.until(2)
            number = site.rollouts.begin(steps=[{"share": "25%", "judge": "5m"}])
            rollout = site.rollouts.over(number, "failed", "judge", seconds=60)
            time.sleep(1)
            lines = client.stop()
            first, last = site.green.seen()
            taken.append(last - first)
            looked.add(rollout["cause"]["detail"])
            print(slower(within(lines, first, last)), flush=True)
    print("\n".join(f"- {detail}" for detail in sorted(looked)))
    return [time_figure("p95 +50 % at 25 %: first to last request on it", taken, 30, 10, "s", "common practice < 30 s")]


def slower(lines):
    of = {name: percentile([line for line in lines if line.who == name], 95) for name in ("blue", "green")}
    return f"p95 as clients saw it: blue {of['blue']:.1f} ms, green {of['green']:.1f} ms"


def manual(scene):
    """A person takes back a good version that has half of the traffic: by each way, on a good disk and on one without a free byte."""
    figures = []
    for disk in ("in memory", "on disk", "full"):
        with disk_of(disk, scene) as (state, fill, free):
            with scene.site(state) as site:
                site.modes({}, {})
                for name, path in (("abort", "/v1/rollouts/{}/abort"), ("rollback of the service", "/v1/services/app/rollback")):
                    taken, answered = zip(*(take_back(site, path, fill, free) for _ in range(2 * scene.options.rounds)), strict=True)
                    note = f"answered after {statistics.median(answered):.1f} ms"
                    figures.append(time_figure(f"{name}, state {disk}: call to last request on it", taken, 10, 2, "ms", note))
    return figures


def take_back(site, path, fill, free):
    """Milliseconds from the call to the last request that came to green, and to the call's answer."""
    client = site.client()
    client.until(1)
    number = site.rollouts.begin(steps=HALF)
    site.rollouts.serving(number)
    time.sleep(0.3)
    fill()
    begun = time.monotonic()
    site.rollouts.admin.call("POST", path.format(number), {"reason": "measured"})
    answered = time.monotonic()
    time.sleep(0.5)
    _, last = site.green.seen()
    free()
    site.rollouts.over(number, "failed")
    if failed := sum(line.failed for line in client.stop()):
        sys.exit(f"{failed} requests failed while a good version was taken back")
    if not last:
        sys.exit("no request came to the version that had half of them")
    return max(0.0, last - begun) * 1e3, (answered - begun) * 1e3


@contextlib.contextmanager
def disk_of(kind, scene):
    """A folder for state, what fills its disk, and what frees it again."""
    nothing = lambda: None  # noqa: E731
    if kind != "full":
        with state_folder(kind == "in memory") as state:
            yield state, nothing, nothing
        return
    folder = scene.folder()
    # A file system of its own; who may not mount one can't measure this.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "cutover-full", str(folder)], check=True)
    filler = folder / "filler"
    try:
        yield folder / "state", lambda: fill_up(filler), lambda: filler.unlink(missing_ok=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(path):
    with open(path, "wb", buffering=0) as out, contextlib.suppress(OSError):
        while out.write(b"x" * 4096) == 4096:
            pass
    if os.statvfs(path.parent).f_bfree:
        sys.exit("the disk is not full")


@contextlib.contextmanager
def stage_of(scene):
    """nginx as both versions, so that as much as goes can be asked of the proxy."""
    stage = Stage(scene.folder(), scene.options.cutover, scene.processes)
    stage.start_apps()
    proxy = stage.start("cutover")
    try:
        yield stage, proxy, Rollouts(Admin(proxy.dir / "admin.sock"))
    finally:
        stage.stop(proxy)


def cost(scene):
    """Half of the traffic on each version, because a rollout says so and because a person does; by turns, of the same process."""
    with stage_of(scene) as (stage, proxy, rollouts):
        sample = lambda: proxy.sample(lambda: load.closed_loop(stage.other_cores, proxy.url("1k"), 64, 3, 1024)).cpu  # noqa: E731
        pairs = []
        for number in range(2 * scene.options.rounds + 1):
            by_turns = [by_hand, by_rollout] if number % 2 else [by_rollout, by_hand]
            found = {way: way(rollouts, sample) for way in by_turns}
            pairs += [(found[by_hand], found[by_rollout])] * bool(number)  # round 0 only warms up
    bare, judged = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
    differences = [after - before for before, after in pairs]
    low, _, high = statistics.quantiles(differences, n=4)
    note = f"{bare:.2f} us by hand, {judged:.2f} us in a rollout: {judged / bare:.3f}; half of the pairs {low:+.2f} to {high:+.2f} us"
    return [Figure("guard and rescue: CPU per good request", statistics.median(differences), 0.1, 0, " us", note=note)]


def by_hand(rollouts, sample):
    rollouts.admin.weights("app", blue=50, green=50)
    return sample()


def by_rollout(rollouts, sample):
    rollouts.admin.weights("app", blue=100, green=0)
    number = rollouts.begin(steps=HALF)
    rollouts.serving(number)
    cpu = sample()
    rollouts.admin.call("POST", f"/v1/rollouts/{number}/abort")
    rollouts.over(number, "failed", "abort")
    return cpu


# The preset fast, with seconds for minutes.
FAST = {
    "warm_up": "1s",
    "steps": [{"share": "10%", "judge": "2s"}, {"share": "50%", "judge": "5s"}],
    "judge": {"interval": "1s"},
    "bake": "5s",
}


def promotion(scene):
    """A version as good as the old one gets everything."""
    failed, ratios = 0, []
    with scene.site() as site:
        site.modes({"ms": 5, "spread": 2}, {"ms": 5, "spread": 2})
        for _ in range(max(2, scene.options.rounds // 2)):
            client = site.client()
            client.until(10)
            begun = time.monotonic()
            site.rollouts.over(site.rollouts.begin(**FAST), "succeeded", seconds=240)
            lines = client.stop()
            failed += sum(line.failed for line in lines)
            # The first second is spent on opening connections.
            before, during = within(lines, begun - 9, begun), [line for line in lines if line.begun >= begun]
            ratios.append(percentile(during, 99) / percentile(before, 99))
            site.rollouts.admin.weights("app", blue=100, green=0)
    return [
        Figure("a good version promoted: failures", failed, 0, 0, note="common practice 0"),
        Figure("the same: p99 during it, times before", statistics.median(ratios), 1.1, 1, note=f"of each round: {listed(ratios)}; common practice 1.1"),
        throughput(scene),
    ]


def throughput(scene):
    """As much as 64 connections can ask for, before and while a version gets everything."""
    lost = []
    with stage_of(scene) as (stage, proxy, rollouts):
        rate = lambda seconds: load.closed_loop(stage.other_cores, proxy.url("1k"), 64, seconds, 1024)  # noqa: E731
        for _ in range(max(2, scene.options.rounds // 2)):
            rollouts.admin.weights("app", blue=100, green=0)
            before = rate(10)
            number = rollouts.begin(**FAST)
            during = rate(15)
            rollouts.over(number, "succeeded", seconds=240)
            if before.errors + during.errors:
                sys.exit(f"{before.errors + during.errors} requests failed")
            lost.append(100 * (1 - during.rate / before.rate))
    return Figure("the same: throughput lost", statistics.median(lost), 5, 0, " %", note=f"of each round: {listed(lost)}; common practice 5 %")


def simulate():
    """What only many rollouts show: their own table, and whether all in it is reached."""
    print("\n## Simulated, in virtual time\n", flush=True)
    return subprocess.run(["cargo", "bench", "--quiet", "--bench", "rollback_statistics"], cwd=ROOT, check=False).returncode == 0


def time_figure(name, values, bar, aim, unit, note):
    """The median; a smaller one is a better one."""
    return Figure(name, statistics.median(values), bar, aim, f" {unit}", strict=True, note=f"worst {max(values):.1f}; {note}")


def listed(values):
    return ", ".join(f"{value:.3g}" for value in values)


CASES = {
    "errors-rescued": errors_rescued,
    "errors": errors_felt,
    "slow": slow,
    "manual": manual,
    "cost": cost,
    "promotion": promotion,
}
NAMES = tuple(CASES)


def run(folder, processes, options):
    """Prints the figures as they come and a table of all; tells whether all are reached."""
    scene, figures = Scene(folder, processes, options), []
    for name in options.only:
        print(f"{name}: {CASES[name].__doc__ or ''}".rstrip(": "), flush=True)
        for figure in CASES[name](scene):
            figures.append(figure)
            print("  " + " | ".join(figure.row()[:2]), flush=True)
    print_figures(figures)
    simulated = simulate() if options.statistics else True
    return simulated and all(figure.verdict != "NOT reached" for figure in figures)
