"""Analyst: reads the title and the repository and writes the brief.

With `--soak` it measures a baseline first: the whole soak suite, minutes of pytest. A suite that
is red before any work makes the brief ask for input instead of being ready.
"""

import subprocess
import sys
import tempfile

from catalogue import choose
from workbench import Stop, front_matter, run, say

#: Longest time the soak suite may take, in seconds.
SOAK_TIMEOUT_S = 1_800


def soak(context):
    """Run the soak suite, its output in a file as people do with long runs; True when green."""
    say("measuring a baseline: the soak suite")
    with tempfile.TemporaryFile(mode="w+", encoding="utf-8") as output:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "-m", "slow", "tests/test_soak.py"],
            cwd=context.worktree, timeout=SOAK_TIMEOUT_S, stdout=output, stderr=subprocess.STDOUT,
        )
        output.seek(0)
        say("".join(output.readlines()[-5:]).strip())
    return done.returncode == 0


def tree_reader(context):
    """A function that reads a file of the worktree, or gives None."""

    def read(path):
        try:
            return (context.worktree / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    return read


def work(context):
    """Write `01-brief.md` and commit it."""
    base = context.git("ls-tree", "-r", "--name-only", context.target_commit(), "--", "src", "tests").splitlines()
    modules = [name for name in base if name.startswith("src/") and name.endswith(".py")]
    tests = [name for name in base if name.startswith("tests/") and name.endswith(".py")]
    if not modules:
        raise Stop("no Python source under src/: is this the sample project?")
    status, baseline = "READY", "not measured"
    if "--soak" in sys.argv[1:]:
        green = soak(context)
        status = "READY" if green else "NEEDS_INPUT"
        baseline = "soak suite green" if green else "soak suite red before any work"
    plan = choose(context.key, context.title, tree_reader(context))
    listed = "\n".join(f"- `{name}`" for name in modules)
    text = front_matter(brief_status=status, work_item=context.key) + (
        f"# {context.key}: {context.title}\n\n"
        f"## What is wanted\n\nThe package shall {plan.what}.\n\n"
        f"## Where it stands\n\n{len(modules)} modules, {len(tests)} test files; baseline: {baseline}.\n\n{listed}\n\n"
        "## Done when\n\n"
        f"- `{plan.module_path()}` offers it, each public function with a docstring;\n"
        f"- `{plan.test_path()}` covers the plain case, the edges and what must be refused;\n"
        "- the whole suite is green and line coverage does not fall;\n"
        "- nothing that exists changes its behaviour.\n"
    )
    brief = context.write(context.artifacts / "01-brief.md", text)
    context.commit(f"{context.key}: Brief", brief)


if __name__ == "__main__":
    run(work)
