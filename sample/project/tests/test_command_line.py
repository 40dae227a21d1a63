import subprocess
import sys
from pathlib import Path

import pytest

from spans.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["parse", "2d 4h"], "187200\n"),
        (["parse", "PT1H30M"], "5400\n"),
        (["format", "5400"], "1h 30m\n"),
        (["iso", "5400"], "PT1H30M\n"),
    ],
)
def test_answers_on_standard_output(capsys, arguments, answer):
    assert main(arguments) == 0
    assert capsys.readouterr().out == answer


def test_a_wrong_duration_is_exit_2_with_the_reason(capsys):
    assert main(["parse", "soon"]) == 2
    assert "number and a unit" in capsys.readouterr().err


def test_soaking_counts_its_round_trips(capsys):
    assert main(["soak", "0.2"]) == 0
    assert "round trips" in capsys.readouterr().out


def test_the_package_runs_as_a_program():
    source = Path(__file__).parent.parent / "src"
    done = subprocess.run(
        [sys.executable, "-m", "spans", "parse", "1h"],
        env={"PYTHONPATH": str(source)}, capture_output=True, text=True, timeout=60, check=True,
    )
    assert done.stdout == "3600\n"
