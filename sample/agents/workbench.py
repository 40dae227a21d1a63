"""What the scripted agents share: their context, the worktree's git, artifacts, the last line.

Responsible for the manners of a command agent: context comes from the environment alone, files are
replaced whole, a commit names exactly its paths, and a second run after a kill at any moment ends
in the same tree. It decides nothing about the work item; that is each role's own file.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

#: Longest time one git call may take, in seconds.
GIT_TIMEOUT_S = 60
#: Longest time the default test suite may take, in seconds.
SUITE_TIMEOUT_S = 600


class Stop(Exception):
    """The agent cannot do its work; the message says why, and the exit code is 1."""


class Context:
    """What the core tells an agent about its job."""

    def __init__(self):
        self.key = _needed("ORCH_WORK_ITEM")
        self.title = os.environ.get("ORCH_TITLE", "").strip() or self.key
        self.role = os.environ.get("ORCH_ROLE", "")
        self.attempt = int(os.environ.get("ORCH_ATTEMPT", "1") or "1")
        self.worktree = Path(os.environ.get("ORCH_WORKTREE") or os.getcwd()).resolve()
        self.artifacts = Path(_needed("ORCH_ARTIFACTS_DIR"))
        self.target = os.environ.get("ORCH_TARGET_BRANCH", "main")

    def findings(self):
        """Findings of the last roll-back, or an empty text."""
        path = os.environ.get("ORCH_FINDINGS_FILE", "")
        try:
            return Path(path).read_text(encoding="utf-8").strip() if path else ""
        except FileNotFoundError:
            return ""

    def git(self, *arguments, check=True):
        """Run git in the worktree; returns its standard output."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.worktree, capture_output=True, text=True, timeout=GIT_TIMEOUT_S,
        )
        if check and done.returncode != 0:
            raise Stop(f"git {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
        return done.stdout.strip()

    def target_commit(self):
        """Where the task branch left the target branch."""
        for name in (f"refs/remotes/origin/{self.target}", f"refs/heads/{self.target}", self.target):
            found = self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
            if found:
                return self.git("merge-base", found, "HEAD")
        raise Stop(f"target branch {self.target!r} is not known in the worktree")

    def work_revision(self):
        """The last commit that changed something beside the work item's papers."""
        return self.git("log", "-1", "--format=%H", "--", ".", ":(exclude)docs/work-items")

    def write(self, relative, text):
        """Replace one file of the worktree whole; a kill leaves the old or the new one."""
        path = self.worktree / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
        return Path(relative)

    def commit(self, message, *paths):
        """Commit exactly these paths; says so when there was nothing to commit."""
        names = [str(path) for path in paths]
        self.git("add", "--", *names)
        if not self.git("diff", "--cached", "--name-only", "HEAD", "--", *names):
            say("nothing new to commit")
            return
        self.git(
            "-c", f"user.name={self.role or 'agent'} (sample agent)", "-c", "user.email=agent@sample.invalid",
            "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "-m", message, "--", *names,
        )
        say(f"committed {self.git('rev-parse', '--short', 'HEAD')}: {message}")


def run_suite(worktree, *arguments):
    """Run pytest in the worktree with this interpreter; returns (exit code, output)."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments], cwd=worktree, text=True, timeout=SUITE_TIMEOUT_S,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
    )
    return done.returncode, done.stdout


def front_matter(**values):
    """The YAML block at the head of an artifact; plain words only."""
    return "---\n" + "".join(f"{key}: {value}\n" for key, value in values.items()) + "---\n\n"


def slug(text, limit=48):
    """A file name out of a title."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-") or "work-item"


def say(text):
    """One line of progress, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(work):
    """Run one role and end the way a command agent ends: a last line of JSON with its cost."""
    try:
        work(Context())
    except (Stop, OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"agent stopped: {error}\n")
        sys.exit(1)
    say(json.dumps({"cost_usd": 0}))


def _needed(name):
    value = os.environ.get(name, "").strip()
    if not value:
        raise Stop(f"{name} is not set: this program is started by orch-core as a command agent")
    return value
