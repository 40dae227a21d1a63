"""Durations that people can read."""

from .iso import format_iso, parse_iso
from .span import Span, SpanError
from .text import format_span, parse_span

__all__ = ["Span", "SpanError", "format_iso", "format_span", "parse_iso", "parse_span"]
