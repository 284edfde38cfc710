"""What a request costs over TLS: HTTP/1.1, HTTP/2, and a whole handshake for each request."""
import subprocess

from . import load
from .figures import COST_HEAD, Figure, cost_row, median, print_table

CONNECTIONS = 64
STREAMS = 10
CASES = {
    "HTTP/1.1 over TLS, 64 connections": lambda cores, url, seconds: load.closed_loop(cores, url, CONNECTIONS, seconds),
    "HTTP/2 over TLS, 64 connections x 10 streams": lambda cores, url, seconds: load.streams(cores, url, CONNECTIONS, STREAMS, seconds),
    "TLS 1.3 handshake and one request": lambda cores, url, seconds: load.closed_loop(cores, url, 32, seconds, headers=["Connection: close"]),
}
# Against nginx: at least, and aimed at; the aim of HTTP/2 is HAProxy's cost.
BARS = {
    "HTTP/1.1 over TLS, 64 connections": (0.95, 0.88),
    "HTTP/2 over TLS, 64 connections x 10 streams": (1.15, None),
    "TLS 1.3 handshake and one request": (0.60, 0.52),
}


def run(stage, options):
    certificate = make_certificate(stage.dir / "certificate")
    proxies = [stage.start(name, certificate=certificate) for name in options.proxies]
    figures = []
    for case, load_with in CASES.items():
        samples = {proxy.name: [] for proxy in proxies}
        for number in range(options.rounds + 1):
            for proxy in proxies:
                seconds = options.secs if number else 1
                sample = proxy.sample(lambda: load_with(stage.other_cores, proxy.url("1k"), seconds))
                if number:
                    samples[proxy.name].append(sample)
        print(f"\n## {case}, /1k: medians of {options.rounds} rounds of {options.secs} s\n")
        print_table(COST_HEAD, [cost_row(name, rows) for name, rows in samples.items()])
        figures += against_nginx(case, samples)
    stage.stop(*proxies)
    return figures


def against_nginx(case, samples):
    if not {"cutover", "nginx"} <= samples.keys():
        return []
    cost = {name: median(rows, lambda s: s.cpu) for name, rows in samples.items()}
    print("\nCutover's CPU per request: " + ", ".join(f"{cost['cutover'] / cost[name]:.2f} x {name}" for name in cost if name != "cutover"))
    bar, aim = BARS[case]
    aim = aim or cost.get("haproxy", cost["nginx"]) / cost["nginx"]
    return [Figure(f"CPU per request, {case}, vs nginx", cost["cutover"] / cost["nginx"], bar, aim)]


def make_certificate(folder):
    """P-256, in the forms that the proxies want."""
    folder.mkdir()
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", *names]
    subprocess.run([*new, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    (folder / "both.pem").write_text(cert.read_text() + key.read_text())
    return folder
