"""ISO 8601 durations, as far as they are exact: weeks, days, hours, minutes, seconds.

Years and months are refused, since their length depends on a calendar.
"""

from __future__ import annotations

import re

from .span import Span, SpanError

_ISO = re.compile(
    r"P(?:(?P<w>\d{1,9})W)?(?:(?P<d>\d{1,9})D)?"
    r"(?P<time>T(?:(?P<h>\d{1,12})H)?(?:(?P<m>\d{1,12})M)?(?:(?P<s>\d{1,12})S)?)?",
    re.ASCII,
)
_SIZES = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_iso(text: str) -> Span:
    """Read `P[nW][nD][T[nH][nM][nS]]`; raises `SpanError` for anything else."""
    found = _ISO.fullmatch(text.strip())
    if found is None:
        if re.match(r"P\d*[YM]|P.*\dY", text.strip()):
            raise SpanError("years and months have no fixed length")
        raise SpanError(f"{text!r} is no ISO 8601 duration")
    counts = {unit: found.group(unit) for unit in _SIZES}
    if all(count is None for count in counts.values()) or found.group("time") == "T":
        raise SpanError(f"{text!r} names no amount")
    return Span(sum(int(count) * _SIZES[unit] for unit, count in counts.items() if count))


def format_iso(span: Span) -> str:
    """Write the ISO form with days as the largest unit; zero is `PT0S`."""
    days, rest = divmod(span.seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    time = "".join(
        f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count
    )
    if not days and not time:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{time}" if time else "")
