"""Architect: decides where the feature goes and records it as an ADR."""

from analyst import tree_reader
from catalogue import choose
from workbench import Stop, front_matter, run, slug


def work(context):
    """Write `06-adr/0001-*.md` and commit it."""
    brief = context.worktree / context.artifacts / "01-brief.md"
    if not brief.is_file():
        raise Stop(f"there is no brief at {context.artifacts}/01-brief.md")
    plan = choose(context.key, context.title, tree_reader(context))
    text = front_matter(adr_status="ACCEPTED", work_item=context.key) + (
        f"# Put it in a module of its own: `{plan.module_path()}`\n\n"
        f"## Context\n\n{context.key} asks the package to {plan.what}. The core modules (`span`, `text`, `iso`)\n"
        "are small and settled; several work items are under way at a time.\n\n"
        "## Decision\n\n"
        f"One new module under `extras`, which imports `spans.span` and nothing sideways, with tests in\n"
        f"`{plan.test_path()}`. It takes and returns `Span`, and raises `SpanError` for what it refuses.\n\n"
        "## Consequences\n\n"
        "No existing file changes, so two work items do not meet in one file. The feature is imported by\n"
        "its full name; whether it becomes part of the package's front door is a later decision.\n"
    )
    name = f"0001-{slug(plan.what)}.md"
    record = context.write(context.artifacts / "06-adr" / name, text)
    context.commit(f"{context.key}: Decide where it goes", record)


if __name__ == "__main__":
    run(work)
