"""Deploy: `deploy.py BARE_REPOSITORY DEPLOY_DIR` brings revision ORCH_REVISION live.

The tree goes to `releases/<sha>`, the link `current` is switched to it by one rename, and then
`deployments.log` gets one line for that switch: a record follows the deed and never goes before it.
Killed between the two, the next run (of whatever revision) writes the missing line first. So after
any number of runs and kills there is exactly one line for each switch that happened.
`attempts.log` has a line for each start of this program, for people who look for reasons.
"""

import fcntl
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))

from release_tree import current, lay_tree, point_at  # noqa: E402

SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


def recorded(log):
    """Lines of the log of deployments, oldest first."""
    try:
        return log.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def settle_record(home):
    """Write the line of the switch that `current` shows, unless it is the last one already."""
    live, log = current(home / "current"), home / "deployments.log"
    lines = recorded(log)
    if live is None or (lines and lines[-1].split()[0] == live):
        return
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    part = home / ".deployments.log.part"
    with open(part, "w", encoding="utf-8") as out:
        out.write("\n".join([*lines, f"{live} {stamp}"]) + "\n")
        out.flush()
        os.fsync(out.fileno())
    os.replace(part, log)


def main():
    """Exit 0 when the revision is live and recorded."""
    repository, home = Path(sys.argv[1]), Path(sys.argv[2])
    sha = os.environ.get("ORCH_REVISION", "").strip()
    if not SHA.fullmatch(sha):
        sys.stderr.write(f"deploy: ORCH_REVISION must be a full commit id, got {sha!r}\n")
        return 2
    home.mkdir(parents=True, exist_ok=True)
    with open(home / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(home / "attempts.log", "a", encoding="utf-8") as out:
            out.write(f"{sha} {time.time():.3f} {os.getpid()}\n")
        settle_record(home)
        try:
            lay_tree(repository, sha, home / "releases" / sha)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"deploy: cannot export {sha}: {error.stderr.decode(errors='replace').strip()}\n")
            return 1
        switched = point_at(home / "current", f"releases/{sha}")
        settle_record(home)
    sys.stdout.write(f"{sha} is live{'' if switched else ' already'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
