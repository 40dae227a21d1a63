"""The everyday form: `2d 4h`, `90m`, `1h30m15s`."""

from __future__ import annotations

import re

from .span import Span, SpanError

#: Units from large to small; a text must name them in this order, each at most once.
UNITS = (("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))

_SECONDS = dict(UNITS)
_RANK = {unit: rank for rank, (unit, _) in enumerate(UNITS)}
_PART = re.compile(r"(\d{1,12})\s*([a-z])\s*", re.ASCII)


def parse_span(text: str) -> Span:
    """Read the everyday form.

    Blanks between parts are free, case does not matter. Raises `SpanError` that names the part
    which is wrong.
    """
    rest = text.strip().lower()
    if not rest:
        raise SpanError("an empty text is no duration")
    total, last_rank = 0, -1
    while rest:
        part = _PART.match(rest)
        if part is None:
            raise SpanError(f"expected a number and a unit at {rest[:20]!r}")
        count, unit = int(part.group(1)), part.group(2)
        if unit not in _SECONDS:
            raise SpanError(f"unknown unit {unit!r}, use one of w d h m s")
        if _RANK[unit] <= last_rank:
            raise SpanError(f"unit {unit!r} is doubled or out of order")
        last_rank = _RANK[unit]
        total += count * _SECONDS[unit]
        rest = rest[part.end():]
    return Span(total)


def format_span(span: Span) -> str:
    """Write the shortest everyday form; `parse_span` reads it back to the same span."""
    parts, rest = [], span.seconds
    for unit, size in UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
