"""Deployer: makes the staging environment of a work item from its committed head.

`deployer.py --staging-dir DIR` lays the tree at `DIR/<KEY>/<sha>` and lets `DIR/<KEY>/current`
point at it. It runs no check: the staging suite does, and the core reads that suite's answer.
"""

import argparse
from pathlib import Path

from release_tree import lay_tree, point_at
from workbench import run, say


def work(context):
    """Lay the tree of HEAD and switch to it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--staging-dir", required=True, type=Path)
    home = parser.parse_args().staging_dir / context.key
    sha = context.git("rev-parse", "HEAD")
    lay_tree(context.worktree, sha, home / sha)
    point_at(home / "current", sha)
    say(f"staging environment of {context.key} is at {sha[:12]}")


if __name__ == "__main__":
    run(work)
