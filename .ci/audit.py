"""Looks for known vulnerabilities in what is deployed and in what the commands need.

A vulnerability is a failure. An advisory service that cannot be reached is none, and this says so;
pip-audit ends with 1 for both, and with 0 where the service knows nothing at all.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

UNREACHABLE = ("requests.exceptions.", "ServiceError", "your network may be blocking")
FILES = ("requirements.txt", "admin/requirements.txt")
# The files alone are read, and each package in them must have a hash: nothing is installed.
AUDIT = "-m pip_audit --require-hashes --disable-pip --progress-spinner off --format json --output"

with tempfile.TemporaryDirectory() as folder:
    report = Path(folder, "report")
    requirements = [argument for file in FILES for argument in ("--requirement", file)]
    command = [sys.executable, *AUDIT.split(), str(report), *requirements]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    written = report.read_text() if report.exists() else ""
    packages = json.loads(written)["dependencies"] if written else []

if not packages and not any(sign in process.stderr for sign in UNREACHABLE):
    sys.exit(process.stderr)
found = [
    f"{package['name']} {package['version']}: {flaw['id']}, fixed in {flaw['fix_versions']}"
    for package in packages
    for flaw in package.get("vulns", [])
]
if found:
    sys.exit("\n".join(["Known vulnerabilities:", *found]))
audited = [package for package in packages if "vulns" in package]
if not audited or audited != packages:
    known = f"{len(audited)} of {len(packages)} packages"
    print(f"NOT audited: the advisory service is away, or knows only {known}.", file=sys.stderr)
else:
    print(f"No known vulnerabilities in {len(packages)} packages.")
