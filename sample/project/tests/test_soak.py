"""The soak suite: minutes of round trips, half of them in a process of its own.

Left out by default (`-m slow` runs it). Each step is short, so that progress shows.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from spans.__main__ import soak

#: 120 steps of one second each, and a helper that soaks beside them the whole time.
STEPS, STEP_S = 120, 1.0


@pytest.fixture(scope="module")
def soaking_beside():
    source = Path(__file__).parent.parent / "src"
    helper = subprocess.Popen(
        [sys.executable, "-m", "spans", "soak", str(STEPS * STEP_S)],
        env={"PYTHONPATH": str(source)}, stdout=subprocess.DEVNULL, start_new_session=True,
    )
    yield helper
    helper.kill()
    helper.wait()


@pytest.mark.slow
@pytest.mark.parametrize("step", range(STEPS))
def test_round_trips_hold_for_long(soaking_beside, step):
    assert soak(STEP_S) > 0
    assert soaking_beside.poll() in (None, 0), f"the helper died before step {step}"
