"""What a second worker adds to the cost of a request.

With four cores or more: workers on cores of their own, load and app servers on others. With two cores nothing can be apart from
two busy workers, so there are two placements, and neither is the whole truth:
  one core    both workers take turns on core 0, the load is on core 1: shows work that is done once per worker, not
              cores fighting over a cache line;
  both cores  workers, load and app servers share both cores, and so does the single worker it is compared with: shows the
              fight, and along with it everybody's cold caches. nginx's workers share nothing, so nginx's own ratio there is
              what the placement costs, and Cutover's is judged against it.
"""
import os
from dataclasses import dataclass

from . import load
from .figures import COST_HEAD, Figure, cost_row, median, print_table

BAR, AIM = 1.05, 1.02
NAMES = ("nginx", "cutover")


@dataclass
class Placement:
    name: str
    one: tuple
    two: tuple
    others: tuple
    against_nginx: bool


def placements():
    if os.cpu_count() >= 4:
        return [Placement("cores of their own", (0,), (0, 1), (2, 3), False)]
    return [Placement("one core", (0,), (0,), (1,), False), Placement("both cores", (0, 1), (0, 1), (0, 1), True)]


def run(stage, options):
    figures = []
    for placement in placements():
        samples = compare(stage, placement, options)
        print(f"\n## Two workers and one, {placement.name}: /1k, 64 connections, medians of {options.rounds} rounds of {options.secs} s\n")
        print_table(COST_HEAD, [cost_row(f"{name} x {workers}", rows) for (name, workers), rows in samples.items()])
        figures += judge(placement, samples)
    return figures


def compare(stage, placement, options):
    names = [name for name in NAMES if name in options.proxies]
    running = {}
    for name in names:
        running[name, 1] = stage.start(name, workers=1, cores=placement.one)
        running[name, 2] = stage.start(name, workers=2, cores=placement.two)
    samples = {key: [] for key in running}
    for number in range(options.rounds + 1):
        for key, proxy in running.items():
            seconds = options.secs if number else 1
            sample = proxy.sample(lambda: load.closed_loop(placement.others, proxy.url("1k"), 64, seconds))
            if number:
                samples[key].append(sample)
    stage.stop(*running.values())
    return samples


def judge(placement, samples):
    ratio = {name: cpu(samples, name, 2) / cpu(samples, name, 1) for name, _ in samples}
    if "cutover" not in ratio:
        return []
    name = f"CPU per request, two workers vs one, {placement.name}"
    if placement.against_nginx and "nginx" in ratio:
        note = f"Cutover {ratio['cutover']:.2f} by itself, nginx {ratio['nginx']:.2f}"
        return [Figure(f"{name}, vs nginx's own", ratio["cutover"] / ratio["nginx"], BAR, AIM, note=note)]
    return [Figure(name, ratio["cutover"], BAR, AIM)]


def cpu(samples, name, workers):
    return median(samples[name, workers], lambda s: s.cpu)
