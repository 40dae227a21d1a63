import pytest

from spans import Span, SpanError, format_span, parse_span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90m", 5_400),
        ("1h 30m", 5_400),
        ("1h30m15s", 5_415),
        ("  2D 4H ", 187_200),
        ("1w 1d 1h 1m 1s", 694_861),
    ],
)
def test_reads_the_everyday_form(text, seconds):
    assert parse_span(text) == Span(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("soon", "number and a unit"),
        ("5", "number and a unit"),
        ("5y", "unknown unit"),
        ("5m 2h", "out of order"),
        ("5m 5m", "doubled"),
        ("1h, 2m", "number and a unit"),
        ("99999999999w", "outside"),
    ],
)
def test_says_what_is_wrong(text, why):
    with pytest.raises(SpanError, match=why):
        parse_span(text)


def test_every_second_of_two_days_survives_the_round_trip():
    for seconds in range(2 * 86_400):
        span = Span(seconds)
        assert parse_span(format_span(span)) == span
