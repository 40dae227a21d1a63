import pytest

from spans import Span, SpanError, format_iso, parse_iso


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT0S", 0), ("PT1H30M", 5_400), ("P1W", 604_800), ("P2DT4H", 187_200), ("PT90M", 5_400), ("P1DT1S", 86_401)],
)
def test_reads_iso(text, seconds):
    assert parse_iso(text) == Span(seconds)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P", "no amount"),
        ("PT", "no amount"),
        ("P1DT", "no amount"),
        ("P1Y", "no fixed length"),
        ("P3M", "no fixed length"),
        ("1h", "no ISO"),
        ("PT1.5S", "no ISO"),
        ("PT5M1H", "no ISO"),
    ],
)
def test_refuses_what_is_not_exact(text, why):
    with pytest.raises(SpanError, match=why):
        parse_iso(text)


def test_every_second_of_two_days_survives_the_round_trip():
    for seconds in range(2 * 86_400):
        span = Span(seconds)
        assert parse_iso(format_iso(span)) == span
