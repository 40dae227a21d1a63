"""Reviewer: reads the diff against the target branch and gives a verdict with reasons.

It looks at what was committed, never at the worktree's files, so that what it approves is what is
merged. The verdict stands in the front matter; the findings below it are for the developer.
"""

import ast
import re

from workbench import front_matter, run, say

FORBIDDEN = (
    (re.compile(r"\bprint\("), "a library does not print"),
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "unfinished work is a work item, not a comment"),
    (re.compile(r"\b(breakpoint\(|pdb\.set_trace)"), "a debugger was left in"),
)


def added_lines(context, base):
    """(file, line number, text) of each added line of Python."""
    name, number = "", 0
    for line in context.git("diff", "--unified=0", base, "HEAD", "--", "*.py").splitlines():
        if line.startswith("+++ "):
            name = line[6:]
        elif line.startswith("@@"):
            number = int(re.search(r"\+(\d+)", line).group(1))
        elif line.startswith("+"):
            yield name, number, line[1:]
            number += 1


def undocumented(tree):
    """Names of public functions and classes without a docstring."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [
        f"{node.name} (line {node.lineno})"
        for node in tree.body
        if isinstance(node, kinds) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]


def find(context):
    """All findings, in words; an empty list approves."""
    base, findings = context.target_commit(), []
    changed = [
        line.split("\t", 1) for line in context.git("diff", "--name-status", "--no-renames", base, "HEAD").splitlines()
    ]
    sources = [name for state, name in changed if name.startswith("src/") and name.endswith(".py") and state != "D"]
    tests = [name for state, name in changed if name.startswith("tests/") and state != "D"]
    if not sources:
        findings.append("no source file was changed: there is nothing that answers the brief")
    if not tests:
        findings.append("no test was added or changed")
    findings += [f"{name}: a test file was deleted" for state, name in changed if state == "D" and name.startswith("tests/")]
    tested = "\n".join(context.git("show", f"HEAD:{name}") for name in tests)
    for name in sources + [name for name in tests if name.endswith(".py")]:
        try:
            tree = ast.parse(context.git("show", f"HEAD:{name}"), name)
        except SyntaxError as error:
            findings.append(f"{name}:{error.lineno}: does not compile: {error.msg}")
            continue
        if name in sources:
            findings += [f"{name}: {what} has no docstring" for what in undocumented(tree)]
            module = name[len("src/"):-len(".py")].replace("/", ".")
            if tests and f"from {module} import" not in tested and f"import {module}" not in tested:
                findings.append(f"{name}: no changed test imports {module}")
    for name, number, text in added_lines(context, base):
        findings += [f"{name}:{number}: {why}" for pattern, why in FORBIDDEN if pattern.search(text)]
    if context.git("diff", "--check", base, "HEAD", "--", "*.py", check=False):
        findings.append("whitespace errors (git diff --check)")
    return changed, findings


def work(context):
    """Write `12-review.md` and commit it."""
    changed, findings = find(context)
    verdict = "REQUEST_CHANGES" if findings else "APPROVED"
    told = "\n".join(f"- {finding}" for finding in findings) or "None."
    files = "\n".join(f"- {state} `{name}`" for state, name in changed if not name.startswith("docs/work-items/"))
    text = front_matter(review_verdict=verdict, work_item=context.key, reviewed_revision=context.work_revision()) + (
        f"# Review of {context.key}\n\n## Findings\n\n{told}\n\n## Looked at\n\n{files or 'Nothing was changed.'}\n"
    )
    review = context.write(context.artifacts / "12-review.md", text)
    context.commit(f"{context.key}: Review: {verdict}", review)
    say(f"{verdict}, {len(findings)} findings")


if __name__ == "__main__":
    run(work)
