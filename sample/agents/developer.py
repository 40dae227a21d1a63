"""Developer: builds the feature with its tests, runs the suite, commits.

After a roll-back it reads the findings and writes both files anew from its plan, so whatever was
found in them is gone; findings elsewhere it cannot cure, and says so by its exit code.
"""

from analyst import tree_reader
from catalogue import choose, mark
from workbench import Stop, run, run_suite, say

#: At most so many lines of a red suite are repeated.
SHOWN_LINES = 40


def work(context):
    """Change code and tests, prove them, commit."""
    findings = context.findings()
    if findings:
        say("findings of the last round:")
        say(findings)
    plan = choose(context.key, context.title, tree_reader(context))
    say(f"building {plan.name}: {plan.what}")
    module = context.write(plan.module_path(), f'{mark(context.key)}{plan.what}."""\n' + plan.source)
    tests = context.write(plan.test_path(), plan.tests.lstrip("\n"))
    exit_code, output = run_suite(context.worktree)
    say("\n".join(output.splitlines()[-SHOWN_LINES:]))
    if exit_code != 0:
        raise Stop(f"the suite is red (pytest exit {exit_code}): nothing is committed")
    subject = f"{context.key}: {plan.what[0].upper()}{plan.what[1:]}"
    context.commit(subject, module, tests)


if __name__ == "__main__":
    run(work)
