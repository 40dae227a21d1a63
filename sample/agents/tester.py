"""Tester: runs the suite in the worktree and reports what it saw.

Pass needs exit code 0 and at least one test that ran: an empty suite proves nothing. A pytest that
could not run at all ends this agent with exit code 1 instead of a verdict.
"""

import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from workbench import Stop, front_matter, run, run_suite, say

#: pytest's exit codes for "ran, all passed", "ran, some failed", "nothing collected".
PASSED, FAILED, NOTHING = 0, 1, 5
#: At most so many failed tests are listed.
SHOWN_FAILURES = 20


def read_junit(path):
    """(tests, skipped, names of failed ones) of a junit file."""
    total, skipped, failed = 0, 0, []
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        total += 1
        if case.find("skipped") is not None:
            skipped += 1
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    return total, skipped, failed


def work(context):
    """Write `13-test-report.md` and commit it."""
    with tempfile.TemporaryDirectory(prefix="sample-tester-") as folder:
        junit = Path(folder) / "junit.xml"
        exit_code, output = run_suite(context.worktree, f"--junitxml={junit}")
        if exit_code not in (PASSED, FAILED, NOTHING):
            raise Stop(f"pytest could not run (exit {exit_code}):\n{output[-4000:]}")
        total, skipped, failed = read_junit(junit) if junit.exists() else (0, 0, [])
    ran = total - skipped
    verdict = "PASS" if exit_code == PASSED and ran > 0 and not failed else "FAIL"
    listed = "\n".join(f"- `{name}`" for name in failed[:SHOWN_FAILURES])
    if len(failed) > SHOWN_FAILURES:
        listed += f"\n- and {len(failed) - SHOWN_FAILURES} more"
    text = front_matter(test_verdict=verdict, work_item=context.key, tested_revision=context.work_revision()) + (
        f"# Test report of {context.key}\n\n"
        f"| ran | passed | failed | skipped |\n| --- | --- | --- | --- |\n"
        f"| {ran} | {ran - len(failed)} | {len(failed)} | {skipped} |\n\n"
        f"## Findings\n\n{listed or ('None.' if ran else 'No test ran at all.')}\n"
    )
    report = context.write(context.artifacts / "13-test-report.md", text)
    context.commit(f"{context.key}: Test report: {verdict}", report)
    say(f"{verdict}: {ran} ran, {len(failed)} failed")


if __name__ == "__main__":
    run(work)
