"""The cost is told before the first picture, the time that is left after the first few."""

import pytest

from benchmarks.cli import progress
from benchmarks.cli.progress import ProgressDisplay


@pytest.fixture
def clock(monkeypatch):
    """Seconds since the start, to be set."""
    time = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: time[0])
    return time


def lines(capsys):
    return capsys.readouterr().err.splitlines()


def test_the_cost_comes_before_the_first_picture(clock, capsys):
    with ProgressDisplay() as display:
        display.making("tiny", "pictures", 50)
        display.made(200, 1200)
        assert lines(capsys) == [
            "1,000 pictures x 50 steps = 50,000 inference steps, 200 are there"
        ]


def test_the_rate_is_taken_after_the_first_picture(clock, capsys):
    with ProgressDisplay() as display:
        display.making("tiny", "pictures", 50)
        # The first takes a minute to warm up, then two seconds each.
        for done, seconds in enumerate((0, 60, 62, 64, 66, 68, 70)):
            clock[0] = seconds
            display.made(done, 95)
        assert lines(capsys)[1:] == ["about 3 min left"]  # 90 pictures


def test_the_rate_of_batches_is_told_from_batch_to_batch(clock, capsys):
    with ProgressDisplay() as display:
        display.making("tiny", "clips", 50, batch=8)
        display.made(0, 88)
        for done in range(1, 25):
            clock[0] = 100 + 40 * ((done - 1) // 8)
            display.made(done, 88)
        # One batch after the first picture: 8 in 40 seconds, 79 are left.
        assert lines(capsys)[1:] == ["about 7 min left"]


def test_each_phase_tells_its_own_cost(clock, capsys):
    with ProgressDisplay() as display:
        for steps in (2, 3):
            display.making("tiny", "pictures", steps)
            display.made(0, 10)
        assert lines(capsys) == [
            "10 pictures x 2 steps = 20 inference steps",
            "10 pictures x 3 steps = 30 inference steps",
        ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(3.4, "3 s"), (99, "99 s"), (100, "2 min"), (7200, "2.0 h")]
)
def test_durations_are_for_people(seconds, text):
    assert progress._duration(seconds) == text
