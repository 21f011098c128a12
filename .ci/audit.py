"""Looks for known vulnerabilities in the requirements of the function and of the commands.

A vulnerability is a failure. An unreachable advisory service is not a failure, but is reported.
pip-audit exits with 1 in both cases, and with 0 if the service knows no package at all.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

UNREACHABLE = ("requests.exceptions.", "ServiceError", "your network may be blocking")
FILES = ("requirements.txt", "admin/requirements.txt")
# Nothing is installed: pip-audit only reads the files, in which each package must have a hash.
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
    print(f"NOT audited: the advisory service is down, or knows only {known}.", file=sys.stderr)
else:
    print(f"No known vulnerabilities in {len(packages)} packages.")
