"""Latency when the rate is given: 60 % of the slower proxy's peak, the same for both."""
from . import cost, load
from .figures import COST_HEAD, Figure, cost_row, median, print_table

CONNECTIONS = 64
SHARE_OF_PEAK = 0.6
NAMES = ("haproxy", "cutover")


def run(stage, options, peaks):
    names = [name for name in NAMES if name in options.proxies]
    proxies = [stage.start(name) for name in names]
    if not set(names) <= peaks.keys():
        measured = cost.interleaved(stage, proxies, "1k", CONNECTIONS, options)
        peaks = {name: median(rows, lambda s: s.load.rate) for name, rows in measured.items()}
    rate = SHARE_OF_PEAK * min(peaks[name] for name in names)
    samples = {proxy.name: [] for proxy in proxies}
    for _ in range(options.rounds):
        for proxy in proxies:
            samples[proxy.name].append(proxy.sample(lambda: at(stage, proxy, rate, options.secs)))
    stage.stop(*proxies)
    print(f"\n## Fixed rate: {rate:.0f} requests/s ({SHARE_OF_PEAK:.0%} of the slower's peak), /1k, {CONNECTIONS} connections, h2load --rps\n")
    print_table(COST_HEAD, [cost_row(name, rows) for name, rows in samples.items()])
    return figures(samples, rate)


def at(stage, proxy, rate, seconds):
    return load.fixed_rate(stage.other_cores, proxy.url("1k"), CONNECTIONS, rate, seconds, stage.dir / "h2load.log")


def figures(samples, rate):
    for name, rows in samples.items():
        reached = median(rows, lambda s: s.load.rate)
        if reached < 0.98 * rate:
            print(f"\n{name} was given only {reached:.0f} requests/s of {rate:.0f}: the load generator could not keep up, its latencies are flattered")
    if len(samples) < len(NAMES):
        return []
    p99 = {name: median(rows, lambda s: s.load.p99) for name, rows in samples.items()}
    note = f"{p99['cutover']:.0f} us vs {p99['haproxy']:.0f} us"
    return [Figure("p99 at a fixed rate, 1k, vs haproxy", p99["cutover"] / p99["haproxy"], 1.3, 1.0, note=note)]
