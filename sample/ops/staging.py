"""Staging suite: `staging.py STAGING_DIR` checks the work item's environment, prints JSON checks.

Started by the core as `staging_cmd` in a checkout of the candidate. The environment is the one that
the deployer made; when the candidate was rebased since, it is brought to the candidate first. No
environment at all is a real failure: the deployer did not do its work.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agents"))

from release_tree import current, lay_tree, point_at  # noqa: E402

SMOKE_TIMEOUT_S = 300


def check(name, title, status, kind, detail):
    """One row of the suite's answer."""
    return {"id": name, "title": title, "status": status, "kind": kind, "detail": detail}


def candidate():
    """The revision under test, as the core names it, else the head of the current folder."""
    told = os.environ.get("ORCH_REVISION", "").strip()
    if told:
        return told
    asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=60, check=True)
    return asked.stdout.strip()


def prepare(staging):
    """(tree to check or None, row about the environment)."""
    title = "staging environment is of this candidate"
    key = os.environ.get("ORCH_WORK_ITEM", "").strip()
    if not key:
        return None, check("E1", title, "fail", "infra", "ORCH_WORK_ITEM is not set")
    home = staging / key
    made = current(home / "current")
    if made is None or not (home / made).is_dir():
        return None, check("E1", title, "fail", "real", f"the deployer made no environment for {key} under {staging}")
    try:
        sha = candidate()
        lay_tree(Path.cwd(), sha, home / sha)
        point_at(home / "current", sha)
    except (OSError, subprocess.SubprocessError) as error:
        return None, check("E1", title, "fail", "infra", f"could not lay the candidate's tree: {error}")
    told = "as the deployer made it" if made == sha else f"brought from {made[:12]} to {sha[:12]}"
    return home / sha, check("E1", title, "pass", "real", told)


def smoke(tree):
    """The rows of the project's own smoke checks in that tree."""
    title = "smoke checks ran"
    try:
        done = subprocess.run(
            [sys.executable, "tools/smoke.py", str(tree)], cwd=tree, capture_output=True, text=True,
            timeout=SMOKE_TIMEOUT_S,
        )
        return json.loads(done.stdout)["checks"]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [check("E2", title, "fail", "infra", str(error))]
    except (ValueError, KeyError):
        return [check("E2", title, "fail", "real", f"no answer: {done.stderr.strip()[-400:]}")]


def main():
    """Print the checks; exit 1 when one failed, so that a person sees it too."""
    tree, environment = prepare(Path(sys.argv[1]))
    checks = [environment, *(smoke(tree) if tree else [])]
    json.dump({"checks": checks}, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 1 if any(row["status"] == "fail" for row in checks) else 0


if __name__ == "__main__":
    sys.exit(main())
