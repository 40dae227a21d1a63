"""Health of the deployment: `health.py DEPLOY_DIR` prints the live revision, exit 0 when it works.

Runs the smoke checks of the live tree itself, so a revision that is in place and broken is not
healthy.
"""

import os
import subprocess
import sys
from pathlib import Path

SMOKE_TIMEOUT_S = 120


def main():
    """Exit 1 when nothing is deployed or the live tree fails its checks."""
    home = Path(sys.argv[1])
    try:
        tree = home / os.readlink(home / "current")
    except OSError:
        sys.stderr.write("health: nothing is deployed\n")
        return 1
    done = subprocess.run(
        [sys.executable, "tools/smoke.py", str(tree)], cwd=tree, capture_output=True, text=True,
        timeout=SMOKE_TIMEOUT_S,
    )
    sys.stdout.write(f"{tree.name}\n")
    if done.returncode != 0:
        sys.stderr.write(f"health: smoke checks failed\n{done.stdout}{done.stderr}")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
