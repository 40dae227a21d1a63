"""The features that the scripted developer knows how to build in the sample project.

A plan is chosen from the title's words, else by the key; one that the tree has already (built for
another work item) is passed over. When all are there, a slot counter is made to measure.
The same work item gets the same plan again: its module names the key in its first line.
"""

import hashlib
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """One module under `src/spans/extras` and its test file."""

    name: str
    what: str
    words: tuple
    source: str
    tests: str

    def module_path(self):
        """Where the module goes, relative to the worktree."""
        return f"src/spans/extras/{self.name}.py"

    def test_path(self):
        """Where its tests go, relative to the worktree."""
        return f"tests/test_extra_{self.name}.py"


PLANS = (
    Plan(
        "clock", "show a span as a clock and read it back", ("clock", "hh:mm", "stopwatch"),
        '''
from ..span import Span, SpanError


def to_clock(span: Span) -> str:
    """`H:MM:SS`, with as many digits for the hours as they need."""
    hours, rest = divmod(span.seconds, 3_600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}"


def from_clock(text: str) -> Span:
    """Read `H:MM:SS`; minutes and seconds must be two digits below 60."""
    parts = text.strip().split(":")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise SpanError(f"{text!r} is no clock")
    hours, minutes, seconds = (int(part) for part in parts)
    if len(parts[1]) != 2 or len(parts[2]) != 2 or minutes > 59 or seconds > 59:
        raise SpanError(f"{text!r} is no clock")
    return Span(hours * 3_600 + minutes * 60 + seconds)
''',
        '''
import pytest

from spans import Span, SpanError
from spans.extras.clock import from_clock, to_clock


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59, "0:00:59"), (5_415, "1:30:15"), (360_000, "100:00:00")])
def test_clock_goes_both_ways(seconds, text):
    assert to_clock(Span(seconds)) == text
    assert from_clock(text) == Span(seconds)


@pytest.mark.parametrize("text", ["", "1:30", "1:60:00", "1:00:60", "1:0:00", "-1:00:00", "a:00:00"])
def test_what_is_no_clock_is_refused(text):
    with pytest.raises(SpanError):
        from_clock(text)
''',
    ),
    Plan(
        "split", "split a span into equal parts without losing a second", ("split", "divide", "share", "parts"),
        '''
from ..span import Span, SpanError


def split_evenly(span: Span, parts: int) -> list[Span]:
    """Parts that differ by a second at most and add up to `span`; the longer ones come first."""
    if parts < 1:
        raise SpanError("a span is split into one part at least")
    size, longer = divmod(span.seconds, parts)
    return [Span(size + (1 if index < longer else 0)) for index in range(parts)]
''',
        '''
import pytest

from spans import Span, SpanError
from spans.extras.split import split_evenly


@pytest.mark.parametrize("seconds", [0, 1, 59, 3_600, 86_401])
@pytest.mark.parametrize("parts", [1, 2, 3, 7, 100])
def test_no_second_is_lost_and_parts_differ_by_one_at_most(seconds, parts):
    shares = [share.seconds for share in split_evenly(Span(seconds), parts)]
    assert len(shares) == parts and sum(shares) == seconds
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize("parts", [0, -1])
def test_at_least_one_part(parts):
    with pytest.raises(SpanError):
        split_evenly(Span(10), parts)
''',
    ),
    Plan(
        "rounding", "round a span to a step", ("round", "step", "nearest", "granular"),
        '''
from ..span import Span, SpanError


def round_to(span: Span, step: Span) -> Span:
    """The nearest multiple of `step`; half a step goes up."""
    if not step:
        raise SpanError("a step of zero rounds nothing")
    return Span((span.seconds + step.seconds // 2) // step.seconds * step.seconds)


def round_up(span: Span, step: Span) -> Span:
    """The smallest multiple of `step` that is not below `span`."""
    if not step:
        raise SpanError("a step of zero rounds nothing")
    return Span(-(-span.seconds // step.seconds) * step.seconds)
''',
        '''
import pytest

from spans import Span, SpanError
from spans.extras.rounding import round_to, round_up


@pytest.mark.parametrize(("seconds", "nearest", "up"), [(0, 0, 0), (29, 0, 60), (30, 60, 60), (60, 60, 60), (95, 120, 120)])
def test_rounds_to_whole_minutes(seconds, nearest, up):
    assert round_to(Span(seconds), Span(60)) == Span(nearest)
    assert round_up(Span(seconds), Span(60)) == Span(up)


@pytest.mark.parametrize("act", [round_to, round_up])
def test_a_step_of_zero_is_refused(act):
    with pytest.raises(SpanError):
        act(Span(5), Span(0))
''',
    ),
    Plan(
        "total", "add up many spans given as text", ("sum", "total", "add up", "timesheet"),
        '''
from collections.abc import Iterable

from ..span import Span
from ..text import parse_span


def total(texts: Iterable[str]) -> Span:
    """The sum of spans in the everyday form; blank entries count nothing."""
    spent = Span(0)
    for text in texts:
        if text.strip():
            spent = spent + parse_span(text)
    return spent
''',
        '''
import pytest

from spans import Span, SpanError
from spans.extras.total import total


@pytest.mark.parametrize(
    ("texts", "seconds"), [([], 0), (["1h", "30m"], 5_400), (["45s", "", " 15s "], 60), (["1d"] * 7, 604_800)],
)
def test_adds_up(texts, seconds):
    assert total(texts) == Span(seconds)


def test_one_bad_entry_spoils_the_sum():
    with pytest.raises(SpanError):
        total(["1h", "soon"])
''',
    ),
    Plan(
        "approximate", "say a span roughly, in words", ("about", "rough", "approx", "words", "human"),
        '''
from ..span import Span

_SIZES = (("week", 604_800), ("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def roughly(span: Span) -> str:
    """One amount of the largest unit that fits: `about 2 hours`; exact ones go without "about"."""
    for unit, size in _SIZES:
        if span.seconds >= size:
            count = (span.seconds + size // 2) // size
            about = "" if count * size == span.seconds else "about "
            return f"{about}{count} {unit}{'' if count == 1 else 's'}"
    return "no time"
''',
        '''
import pytest

from spans import Span
from spans.extras.approximate import roughly


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "no time"), (1, "1 second"), (60, "1 minute"), (5_300, "about 1 hour"), (7_000, "about 2 hours"), (172_800, "2 days")],
)
def test_names_one_unit(seconds, words):
    assert roughly(Span(seconds)) == words
''',
    ),
)

_SLOT_SOURCE = '''
from ..span import Span

SLOT = Span({minutes} * 60)


def slots_of_{minutes}(span: Span) -> tuple[int, Span]:
    """Whole slots of {minutes} minutes in `span`, and what is left."""
    return span // SLOT, span % SLOT
'''
_SLOT_TESTS = '''
import pytest

from spans import Span
from spans.extras.slots_{minutes} import SLOT, slots_of_{minutes}


@pytest.mark.parametrize("slots", [0, 1, 5])
@pytest.mark.parametrize("left", [0, 1, 59])
def test_slots_and_the_rest_make_the_whole(slots, left):
    assert slots_of_{minutes}(SLOT * slots + Span(left)) == (slots, Span(left))
'''


def made_to_measure(minutes):
    """A slot counter for slots of so many minutes."""
    return Plan(
        f"slots_{minutes}", f"count whole slots of {minutes} minutes", (),
        _SLOT_SOURCE.format(minutes=minutes), _SLOT_TESTS.format(minutes=minutes),
    )


def mark(key):
    """First line of a module: whose work it is."""
    return f'"""Built for {key}: '


def choose(key, title, read):
    """The plan of this work item; `read(path)` gives a file of the tree, or None."""
    number = int(hashlib.sha256(key.encode()).hexdigest(), 16)
    wanted = [plan for plan in PLANS if any(word in title.lower() for word in plan.words)]
    asked = re.search(r"\b([1-9]\d{0,3})[ -]?min", title.lower())
    if asked and not wanted:
        wanted = [made_to_measure(int(asked.group(1)))]
    turned = [PLANS[(number + index) % len(PLANS)] for index in range(len(PLANS))]
    measured = [made_to_measure(5 + (number + index) % 1_435) for index in range(64)]
    order = wanted + turned + measured
    for plan in order:
        text = read(plan.module_path())
        if text is not None and text.startswith(mark(key)):
            return plan
    for plan in order:
        if read(plan.module_path()) is None:
            return plan
    raise LookupError("every feature that this developer knows is in the tree already")
