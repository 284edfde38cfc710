"""What a request costs: CPU, latency and memory of each proxy on its core, for three sizes of body and two numbers of connections."""
from . import load
from .figures import COST_HEAD, Figure, cost_row, median, print_table
from .proxies import SIZES

CASES = [(path, connections) for path in ("1k", "64k", "1m") for connections in (64, 1000)]
BARS = {
    ("1k", 64, "nginx"): (1.10, 1.0),
    ("1k", 64, "haproxy"): (1.05, 0.95),
    ("64k", 64, "nginx"): (0.75, 0.65),
    ("1m", 64, "nginx"): (0.75, 0.65),
}


def run(stage, options):
    """Returns the figures, and each proxy's median rate in the smallest case, which is its peak for the fixed-rate section."""
    proxies = [stage.start(name) for name in options.proxies]
    figures, peaks = [], {}
    for path, connections in CASES:
        samples = interleaved(stage, proxies, path, connections, options)
        print(f"\n## /{path}, {connections} connections: medians of {options.rounds} rounds of {options.secs} s\n")
        print_table(COST_HEAD, [cost_row(name, rows) for name, rows in samples.items()])
        figures += ratios(samples, path, connections)
        if (path, connections) == CASES[0]:
            peaks = {name: median(rows, lambda s: s.load.rate) for name, rows in samples.items()}
    stage.stop(*proxies)
    return figures, peaks


def interleaved(stage, proxies, path, connections, options):
    """Round by round, one proxy after the other, so that a drift of the machine hits all alike. Round 0 only warms up."""
    samples = {proxy.name: [] for proxy in proxies}
    for number in range(options.rounds + 1):
        for proxy in proxies:
            seconds = options.secs if number else 1
            sample = proxy.sample(lambda: load.closed_loop(stage.other_cores, proxy.url(path), connections, seconds, SIZES[path]))
            if number:
                samples[proxy.name].append(sample)
    return samples


def ratios(samples, path, connections):
    """Cutover's CPU per request against each peer's. Ratios without a bar are printed, not judged."""
    if "cutover" not in samples:
        return []
    figures, others = [], []
    ours = median(samples["cutover"], lambda s: s.cpu)
    for peer in (name for name in samples if name != "cutover"):
        ratio = ours / median(samples[peer], lambda s: s.cpu)
        others.append(f"{ratio:.2f} x {peer}")
        if bar := BARS.get((path, connections, peer)):
            figures.append(Figure(f"CPU per request, {path}, {connections} connections, vs {peer}", ratio, *bar))
    print("\nCutover's CPU per request: " + ", ".join(others))
    return figures
