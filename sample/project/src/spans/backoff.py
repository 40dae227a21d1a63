"""Delays between attempts: exponential, capped, without randomness of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .span import Span, SpanError


def delays(first: Span, cap: Span, factor: int = 2) -> Iterator[Span]:
    """Yield `first`, `first * factor`, … and then `cap` for ever."""
    if factor < 1:
        raise SpanError("a factor below 1 would shrink the delay")
    if not first or first > cap:
        raise SpanError("the first delay must be positive and not above the cap")
    current = first
    while True:
        yield current
        current = min(cap, current * factor) if current < cap else cap


def wait_until(
    ready: Callable[[], bool],
    patience_s: float,
    pause_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> bool:
    """Ask `ready` until it says yes (True) or `patience_s` is over (False).

    Clock and sleep come in, so that a test can use its own.
    """
    deadline = clock() + patience_s
    while not ready():
        left = deadline - clock()
        if left <= 0:
            return False
        sleep(min(pause_s, left))
    return True
