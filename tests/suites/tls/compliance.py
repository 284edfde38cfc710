"""Starts Cutover with a listener that speaks TLS by its defaults, and has sslyze say whether that is what Mozilla recommends.

    compliance.py [--cutover BINARY] [--config intermediate]
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from started import free_port, running  # noqa: E402


def make_certificate(folder):
    """P-256, valid for 90 days, signed by an authority of our own, which is in `ca.pem`."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-sha256", "-nodes"]

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)

    ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    openssl("req", "-x509", *key, "-days", "90", "-subj", "/CN=A test's authority", *ca, "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "request.pem")
    uses = "subjectAltName=DNS:localhost\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n"
    (folder / "uses").write_text(uses + "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "90", "-sha256", "-extfile", "uses"]
    openssl("x509", "-req", "-in", "request.pem", *signed, "-out", "cert.pem")


def config(folder, port):
    path = folder / "cutover.toml"
    path.write_text(
        f'state_dir = "{folder}/state"\nadmin.address = "unix:{folder}/admin.sock"\nstartup.wait = "0s"\n'
        f'[[listeners]]\naddress = "127.0.0.1:{port}"\ntls.certificates = [{{ cert = "cert.pem", key = "key.pem" }}]\n'
        f'[services.app]\nprobe = false\nendpoints = ["127.0.0.1:{free_port()}"]\n'
    )
    return path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cutover", default="target/debug/cutover")
    parser.add_argument("--brief", action="store_true", help="taken as by the other suites; this one is brief as it is")
    parser.add_argument("--config", default="intermediate", choices=["modern", "intermediate", "old"])
    options = parser.parse_args()
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make_certificate(folder)
        sslyze = [sys.executable, os.path.join(os.path.dirname(sys.executable), "sslyze"), f"--mozilla_config={options.config}"]
        with running(options.cutover, "run", "--config", str(config(folder, port)), port=port, log=folder / "log"):
            told = subprocess.run([*sslyze, f"--certinfo_ca_file={folder}/ca.pem", "--certinfo", f"localhost:{port}"], capture_output=True, text=True)
    verdict = told.stdout[told.stdout.find("COMPLIANCE AGAINST") :].strip()
    print(verdict if verdict else told.stdout + told.stderr)
    sys.exit(told.returncode)


if __name__ == "__main__":
    main()
