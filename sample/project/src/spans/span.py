"""The duration itself: a whole, non-negative number of seconds."""

from __future__ import annotations

from dataclasses import dataclass

#: The longest span that is accepted, in seconds: a hundred years of 365 days.
MAX_SECONDS = 100 * 365 * 86_400


class SpanError(ValueError):
    """The text or number is not a duration; the message says why."""


@dataclass(frozen=True, order=True)
class Span:
    """A duration in whole seconds.

    Immutable, ordered and hashable. Arithmetic that would leave the permitted range raises
    `SpanError` instead of wrapping or going negative.
    """

    seconds: int

    def __post_init__(self) -> None:
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, int):
            raise SpanError(f"seconds must be a whole number, got {self.seconds!r}")
        if not 0 <= self.seconds <= MAX_SECONDS:
            raise SpanError(f"{self.seconds} seconds is outside 0..{MAX_SECONDS}")

    def __add__(self, other: Span) -> Span:
        if not isinstance(other, Span):
            return NotImplemented
        return Span(self.seconds + other.seconds)

    def __sub__(self, other: Span) -> Span:
        if not isinstance(other, Span):
            return NotImplemented
        return Span(self.seconds - other.seconds)

    def __mul__(self, times: int) -> Span:
        if isinstance(times, bool) or not isinstance(times, int):
            return NotImplemented
        return Span(self.seconds * times)

    __rmul__ = __mul__

    def __floordiv__(self, other: Span) -> int:
        if not isinstance(other, Span):
            return NotImplemented
        if other.seconds == 0:
            raise SpanError("a span of zero divides nothing")
        return self.seconds // other.seconds

    def __mod__(self, other: Span) -> Span:
        if not isinstance(other, Span):
            return NotImplemented
        if other.seconds == 0:
            raise SpanError("a span of zero divides nothing")
        return Span(self.seconds % other.seconds)

    def __bool__(self) -> bool:
        return self.seconds > 0
