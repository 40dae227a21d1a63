import pytest

from spans import Span, SpanError
from spans.span import MAX_SECONDS


def test_arithmetic_stays_in_whole_seconds():
    assert Span(90) + Span(30) == Span(120)
    assert Span(90) - Span(30) == Span(60)
    assert Span(90) * 2 == 2 * Span(90) == Span(180)
    assert Span(90) // Span(60) == 1
    assert Span(90) % Span(60) == Span(30)


@pytest.mark.parametrize("seconds", [-1, MAX_SECONDS + 1, 1.5, "3", True, None])
def test_what_is_no_duration_is_refused(seconds):
    with pytest.raises(SpanError):
        Span(seconds)


def test_subtraction_never_goes_below_zero():
    with pytest.raises(SpanError, match="outside"):
        Span(1) - Span(2)


def test_zero_divides_nothing():
    with pytest.raises(SpanError):
        Span(5) // Span(0)
    with pytest.raises(SpanError):
        Span(5) % Span(0)


@pytest.mark.parametrize("wrong", [3, "1h", 2.0, None])
def test_other_types_do_not_mix(wrong):
    for act in (lambda: Span(5) + wrong, lambda: Span(5) - wrong, lambda: Span(5) // wrong, lambda: Span(5) % wrong):
        with pytest.raises(TypeError):
            act()
    with pytest.raises(TypeError):
        Span(5) * 2.0


def test_spans_order_hash_and_are_true_when_positive():
    assert sorted([Span(3), Span(1), Span(2)]) == [Span(1), Span(2), Span(3)]
    assert len({Span(1), Span(1)}) == 1
    assert Span(1) and not Span(0)
