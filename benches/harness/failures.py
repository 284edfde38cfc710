"""The failures, one function each: what happens to the app servers, and the figures of it. A smaller figure is a better one."""
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from . import load
from .faulty import App, Site, percentile, within
from .figures import median, print_table
from .proxies import Stage


@dataclass
class Found:
    """One figure of one proxy. `bar` is what Cutover has to keep to."""

    figure: str
    value: float
    bar: float
    unit: str = ""


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

    def three(self, proxy):
        folder = self.folder()
        apps = [App(name, self.options.seed + number, folder, self.processes) for number, name in enumerate("abc")]
        return Site(proxy, apps, folder, self.processes, self.options)

    def thousand(self, proxy):
        folder = self.folder()
        hosts = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(1000)]
        app = App("many", self.options.seed, folder, self.processes, ("127.0.0.1", *hosts[:-1]))
        app.mode(ms=0)
        return Site(proxy, [app], folder, self.processes, self.options, rise=1, fall=1)


def kill(scene, proxy, method, figure):
    """SIGKILL to one of three. A POST that was on the way to it at that moment can't be saved: nobody knows whether it has run."""
    site = scene.three(proxy)
    client = site.client(8, method)
    client.until(3)
    begun, ended = site.apps[0].kill()
    failed = [line for line in client.lines() if line.failed]
    if method == "POST":
        failed = [line for line in failed if not line.was_on_its_way(begun, ended)]
    site.stop()
    return [Found(figure, len(failed), 0)]


def kill_get(scene, proxy):
    return kill(scene, proxy, "GET", "kill -9, GET: errors")


def kill_post(scene, proxy):
    return kill(scene, proxy, "POST", "kill -9, POST: errors beyond those on the way")


def hang(scene, proxy):
    """One of three accepts and never answers."""
    site = scene.three(proxy)
    client = site.client(24)
    client.until(8)
    hung = time.monotonic()
    site.apps[0].hang()
    lines = client.lines()
    site.stop()
    ratio = percentile(within(lines, hung + 10, hung + 15), 99) / percentile(within(lines, hung - 3, hung), 99)
    return [
        Found("hang: p99 after 10 s, times before", ratio, 1.3),
        Found("hang: errors", sum(line.failed for line in lines), 0),
    ]


def errors(scene, proxy):
    """One of three answers 30 % of its requests with 500."""
    site = scene.three(proxy)
    client = site.client(18)
    client.until(3)
    site.apps[0].mode(errors=0.3)
    client.until(13)
    before = [app.count() for app in site.apps]
    client.until(17)
    got = [app.count() - count for app, count in zip(site.apps, before, strict=True)]
    failed = sum(line.failed for line in client.lines())
    site.stop()
    return [
        Found("30 % 500s: share of requests it gets after 10 s", 100 * got[0] / sum(got), 1, " %"),
        Found("30 % 500s: errors", failed, 0),
    ]


def slow(scene, proxy):
    """One of three becomes ten times slower."""
    site = scene.three(proxy)
    client = site.client(17)
    client.until(8)
    slowed = time.monotonic()
    site.apps[0].mode(ms=50)
    lines = client.lines()
    site.stop()
    ratio = percentile(within(lines, slowed + 2, slowed + 8), 95) / percentile(within(lines, slowed - 4, slowed), 95)
    return [Found("10 times slower: p95, times before", ratio, 1.5)]


def rolling(scene, proxy, method):
    """All are replaced one by one, 2 s each, without a word to the proxy. An app that closes a connection on which a POST has come that it has not read has lost it:
    no proxy can tell that it has not run."""
    site = scene.three(proxy)
    client, closings = site.client(18, method), []
    client.until(2)
    for number, app in enumerate(site.apps):
        closings.append(app.replace(2))
        client.until(2 + 5 * (number + 1))
    failed = [line for line in client.lines() if line.failed]
    site.stop()
    found = [Found(f"restart one by one, {method}: errors", len(failed), 0)]
    if method == "POST":
        beyond = [line for line in failed if not any(line.was_on_its_way(*closing) for closing in closings)]
        found.append(Found("restart one by one, POST: errors beyond those on the way as an app closed", len(beyond), 0))
    return found


def rolling_get(scene, proxy):
    return rolling(scene, proxy, "GET")


def rolling_post(scene, proxy):
    return rolling(scene, proxy, "POST")


def down(scene, proxy):
    """All fail everything: how many requests reach them more than once, of those that reach them at all. A proxy that stops asking them lets few through, and those count."""
    site = scene.three(proxy)
    for app in site.apps:
        app.mode(errors=1, status=503)
        app.numbers()
    sent = len(site.client(10).lines())
    came = [number for app in site.apps for number in app.numbers()]
    site.stop()
    reached = len(set(came))
    print(f"  {reached} of {sent} requests reached an app server, {len(came)} times", flush=True)
    return [Found("pool down: load added by resending", 100 * (len(came) / max(1, reached) - 1), 20, " %")]


def flapping(scene, proxy):
    """A hundred of a thousand fail their probes every other second. nginx has no probes."""
    if proxy == "nginx":
        return []
    site = scene.thousand(proxy)
    calm, wild, published = [], [], []
    for _ in range(scene.options.rounds):
        site.apps[0].mode(flapping=0)
        time.sleep(3)
        calm.append(percentile(site.client(5).lines(), 99))
        site.apps[0].mode(flapping=100)
        time.sleep(3)
        before, begun = site.generation() if proxy == "cutover" else 0, time.monotonic()
        wild.append(percentile(site.client(5).lines(), 99))
        if proxy == "cutover":
            published.append((site.generation() - before) / (time.monotonic() - begun))
    site.stop()
    found = [Found("100 of 1000 flap: p99, times without", statistics.median(wild) / statistics.median(calm), 1.1)]
    return found + [Found("100 of 1000 flap: publications a second", max(published, default=0), 20)] * bool(published)


def cost(scene, proxy):
    """A good request of 1 KiB with all of it on, against the same with none of it; for Cutover alone."""
    if proxy != "cutover":
        return []
    stage = Stage(scene.folder(), scene.options.cutover, scene.processes)
    stage.start_apps()
    templates = {name: Path(__file__).parent.parent / "peers" / f"{name}.toml" for name in ("bare", "guarded")}
    sites = {name: stage.start("cutover", template=template) for name, template in templates.items()}
    samples = {name: [] for name in sites}
    for number in range(2 * scene.options.rounds + 1):
        for name, site in sites.items():
            sample = site.sample(lambda site=site: load.closed_loop(stage.other_cores, site.url("1k"), 64, 3, 1024))
            samples[name] += [sample] * bool(number)
    stage.stop(*sites.values())
    ratio = median(samples["guarded"], lambda s: s.cpu) / median(samples["bare"], lambda s: s.cpu)
    return [Found("cost of all of it on a good 1 KiB request", 100 * (ratio - 1), 3, " %")]


FAILURES = {
    "kill-get": kill_get,
    "kill-post": kill_post,
    "hang": hang,
    "errors": errors,
    "slow": slow,
    "rolling-get": rolling_get,
    "rolling-post": rolling_post,
    "down": down,
    "flapping": flapping,
    "cost": cost,
}
NAMES = tuple(FAILURES)


def run(folder, processes, options):
    """Prints a table; tells whether Cutover has reached all."""
    scene, table = Scene(folder, processes, options), {}
    for name in options.only:
        for proxy in options.proxies:
            print(f"{name}: {proxy}", flush=True)
            for found in FAILURES[name](scene, proxy):
                print(f"  {found.figure}: {found.value:.4g}{found.unit}", flush=True)
                table.setdefault(found.figure, {})[proxy] = found
    print()
    print_table(["figure", "bar", *options.proxies, "verdict"], [row(figure, by_proxy, options.proxies) for figure, by_proxy in table.items()])
    return all(found["cutover"].value <= found["cutover"].bar for found in table.values() if "cutover" in found)


def row(figure, by_proxy, names):
    one = next(iter(by_proxy.values()))
    cells = [f"{by_proxy[name].value:.4g}{one.unit}" if name in by_proxy else "-" for name in names]
    return [figure, f"<= {one.bar}{one.unit}", *cells, verdict(by_proxy)]


def verdict(by_proxy):
    ours = by_proxy.get("cutover")
    if not ours:
        return "-"
    best = min((found.value for name, found in by_proxy.items() if name != "cutover"), default=None)
    words = ["reached" if ours.value <= ours.bar else "NOT reached"]
    if best is not None:
        # Ratios of latencies are as noisy as that.
        near = abs(ours.value - best) <= 0.1 * best
        words.append("equal" if near else "better" if ours.value < best else "worse than a peer")
    return ", ".join(words)
