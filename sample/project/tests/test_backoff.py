import time
from itertools import islice

import pytest

from spans import Span, SpanError
from spans.backoff import delays, wait_until


def test_delays_double_up_to_the_cap():
    assert [d.seconds for d in islice(delays(Span(1), Span(10)), 6)] == [1, 2, 4, 8, 10, 10]


def test_a_factor_of_one_keeps_the_delay():
    assert [d.seconds for d in islice(delays(Span(3), Span(9), factor=1), 3)] == [3, 3, 3]


@pytest.mark.parametrize(("first", "cap", "factor"), [(0, 5, 2), (6, 5, 2), (1, 5, 0)])
def test_senseless_delays_are_refused(first, cap, factor):
    with pytest.raises(SpanError):
        next(delays(Span(first), Span(cap), factor))


def test_waiting_ends_with_the_condition():
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), 5, 0.2, time.monotonic, time.sleep)


def test_waiting_ends_with_the_patience():
    started = time.monotonic()
    assert not wait_until(lambda: False, 0.5, 0.1, time.monotonic, time.sleep)
    assert time.monotonic() - started >= 0.5
