"""Smoke checks of an installed tree: `python tools/smoke.py TREE` prints one JSON object.

Each check runs the package of that tree as a user would, in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("S1", "reads the everyday form", ["parse", "1h 30m"], 0, "5400"),
    ("S2", "reads ISO 8601", ["parse", "P2DT4H"], 0, "187200"),
    ("S3", "prints the everyday form", ["format", "694861"], 0, "1w 1d 1h 1m 1s"),
    ("S4", "prints ISO 8601", ["iso", "86401"], 0, "P1DT1S"),
    ("S5", "refuses what is no duration", ["parse", "soon"], 2, ""),
)
TIMEOUT_S = 30


def run_check(tree, check):
    """Run one check; a program that cannot be started is an infra failure, not a real one."""
    name, title, arguments, exit_code, answer = check
    row = {"id": name, "title": title, "kind": "real"}
    environment = dict(os.environ, PYTHONPATH=str(tree / "src"), PYTHONDONTWRITEBYTECODE="1")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "spans", *arguments],
            env=environment, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return {**row, "kind": "infra", "status": "fail", "detail": str(error)}
    if done.returncode == exit_code and done.stdout.strip() == answer:
        return {**row, "status": "pass", "detail": ""}
    told = (done.stderr.strip().splitlines() or [""])[-1]
    detail = f"exit {done.returncode} and {done.stdout.strip()!r}, expected {exit_code} and {answer!r}; {told}"
    return {**row, "status": "fail", "detail": detail}


def main():
    """Exit 0 when no check failed."""
    tree = Path(sys.argv[1]).resolve()
    rows = [run_check(tree, check) for check in CHECKS]
    json.dump({"checks": rows}, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 1 if any(row["status"] == "fail" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
