"""Command line: `python -m spans parse|format|iso|soak VALUE`."""

from __future__ import annotations

import argparse
import sys
import time

from . import Span, SpanError, format_iso, format_span, parse_iso, parse_span


def soak(seconds: float) -> int:
    """Round-trip durations for so many seconds; returns how many were tried."""
    end, tried = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        span = Span(tried * 7919 % 1_000_003)
        if parse_iso(format_iso(span)) != span:
            raise SpanError(f"{span} does not survive the round trip")
        tried += 1
    return tried


def main(arguments: list[str] | None = None) -> int:
    """Run one command; exit code 2 for a duration that cannot be read."""
    parser = argparse.ArgumentParser(prog="spans", description=__doc__)
    parser.add_argument("command", choices=("parse", "format", "iso", "soak"))
    parser.add_argument("value")
    given = parser.parse_args(arguments)
    try:
        if given.command == "parse":
            text = given.value
            span = parse_iso(text) if text.strip().startswith("P") else parse_span(text)
            sys.stdout.write(f"{span.seconds}\n")
        elif given.command == "format":
            sys.stdout.write(f"{format_span(Span(int(given.value)))}\n")
        elif given.command == "iso":
            sys.stdout.write(f"{format_iso(Span(int(given.value)))}\n")
        else:
            sys.stdout.write(f"{soak(float(given.value))} round trips\n")
    except ValueError as error:
        sys.stderr.write(f"spans: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
