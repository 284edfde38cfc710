"""How the cost of a decision grows with the number of routes: Criterion's estimates of `cargo bench --bench decide`."""
import json
import subprocess

from .figures import Figure, print_table
from .proxies import ROOT

FEW, MANY = "1", "10000"


def run(options):
    command = ["cargo", "bench", "--bench", "decide", "--", *(["--quick"] if options.quick else []), "--noplot"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"\n## decide()\n\nnot measured: {done.stderr.strip().splitlines()[-1]}")
        return []
    found = estimates()
    print("\n## decide(): route, split and pick; Criterion's medians\n")
    print_table(["bench", "ns"], [[name, f"{nanoseconds:.0f}"] for name, nanoseconds in sorted(found.items())])
    return figures(found)


def estimates():
    """Median nanoseconds by bench, as `group/parameter`."""
    folder = ROOT / "target" / "criterion"
    found = {}
    for path in folder.glob("**/new/estimates.json"):
        name = json.loads((path.parent / "benchmark.json").read_text())["full_id"]
        found[name] = json.loads(path.read_text())["median"]["point_estimate"]
    return found


def figures(found):
    """One figure per group that was measured at both ends."""
    rows = []
    for name, few in sorted(found.items()):
        group, _, parameter = name.rpartition("/")
        many = found.get(f"{group}/{MANY}")
        if parameter == FEW and many:
            rows.append(Figure(f"{group} at 10 000 routes vs at 1", many / few, 4, 2, "x", note=f"{many:.0f} ns vs {few:.0f} ns"))
    return rows
