"""A result says what its rows say, and nothing that cannot be."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_results import made, write

from benchmarks.comparing import compare_results
from benchmarks.criteria import Criterion
from benchmarks.numbers import numbers
from benchmarks.reading import read_result, read_table
from benchmarks.rows import scored
from benchmarks.trust import contradiction
from rewardkit.errors import InputError

ROOT = Path(__file__).parents[2]


def doubt(path):
    result = read_result(path)
    return contradiction(result, read_table(result, path))


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "docs" / "results").glob("*.json")),
             *sorted((ROOT / "tests").glob("*/data/*.tiny.json")),
             *sorted((ROOT / "tests").glob("*/results/*.quiz.json"))],
    ids=lambda path: path.name,
)  # fmt: skip
def test_results_that_were_committed_say_what_their_rows_say(path):
    assert doubt(path) is None


def gap(task, index, sample):
    return None if index in (3, 14) and sample else 0.1 * index


def test_so_do_incomplete_ones(tmp_path):
    assert doubt(write(made("alpha", gap), tmp_path)) is None
    few = write(made("beta", lambda task, index, sample: 0.5 if index == 3 else None), tmp_path)
    assert doubt(few) is None


def edited(path, *keys, **changes):
    document = json.loads(path.read_text("utf-8"))
    part = document
    for key in keys:
        part = part[key]
    part.update(changes)
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.mark.parametrize(
    ("keys", "changes", "message"),
    [
        (("metrics", "second", "headline"), {"score": 0.7}, "for second, and it says 0.7"),
        (("metrics", "judge", "tasks", "colors"), {"score": 0.1}, "for judge of colors"),
        (("metrics", "second", "headline"), {"interval": [0.2549, 0.2551]}, "the interval 0.253"),
        (("metrics", "second", "headline"), {"interval": None}, "and it says no interval"),
        (("metrics", "second", "tasks", "colors"), {"score": None}, "and it says nothing"),
        (("benchmark",), {"scale": 2.0}, "its rows give 1.02 for judge"),
        # There are as many pictures of each task.
        (("benchmark",), {"criteria": [{"reward": "judge"}]}, None),
    ],
)
def test_what_rows_contradict_is_told_and_not_compared(keys, changes, message, tmp_path):
    path = edited(write(made("alpha", 0.5), tmp_path), *keys, **changes)
    found = doubt(path)
    assert (found is None) if message is None else (message in found)
    other = edited(write(made("beta", 0.4), tmp_path), *keys, **changes)
    if message is not None:
        with pytest.raises(InputError, match=r"cannot be trusted"):
            compare_results(path, other)


@pytest.mark.parametrize(
    ("keys", "changes", "message"),
    [
        ((), {"score": 0.99}, "score is 0.99"),
        ((), {"interval": [0.1, 0.2]}, "with the interval"),
        ((), {"interval": [0.2, 0.1]}, "interval: its ends 0.2 and 0.1 are not in order"),
        ((), {"interval": [1e308, -1e308]}, "not in order"),
        ((), {"score": float("inf")}, "score"),
        ((), {"n_expected": -1}, "n_expected"),
        ((), {"n_expected": 3}, "24 prompts with 2 samples each are 48"),
        ((), {"n_scored": 10**9}, "n_scored is 1000000000"),
        ((), {"n_scored": 47}, "complete is True, with 47 of 48"),
        ((), {"complete": False}, "complete is False, with 48 of 48"),
        ((), {"shard": "9/3"}, "shard: a shard is written 3/8"),
        ((), {"shard": "1/999999999"}, "24 prompts have no shard"),
        ((), {"shard": "1/" + "9" * 5000}, "a shard is written 3/8"),
        ((), {"rows": "../other.csv"}, "rows: '../other.csv' is not the bare name"),
        ((), {"rows": "/etc/passwd"}, "rows"),
        ((), {"rows": "..\\other.csv"}, "rows"),
        ((), {"rows": ".."}, "rows"),
        ((), {"rows": "x" * 5000}, "rows"),
        ((), {"metrics": {}}, "which is not in metrics"),
        (("benchmark",), {"metric": "x" * 5000}, "which is not in metrics"),
        (("benchmark",), {"scale": 0}, "benchmark.scale"),
        (("benchmark",), {"scale": -1}, "benchmark.scale"),
        (("media",), {"sha256": "no hex"}, "media.sha256"),
        (("prompts",), {"number": 0}, "prompts.number"),
        (("protocol",), {"samples": 0}, "protocol.samples"),
        (("protocol", "sampling"), {"steps": float("nan")}, "damaged"),
        (("metrics", "judge", "headline"), {"n": 10**9}, "n is 1000000000, of 48"),
        (("metrics", "judge", "tasks", "colors"), {"n": 3}, "that of its tasks 27"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(keys, changes, message, tmp_path):
    path = edited(write(made("alpha", 0.5), tmp_path), *keys, **changes)
    with pytest.raises(InputError) as error:
        read_result(path)
    text = str(error.value)
    assert text.startswith(f"{path} is damaged: ") and message in text
    assert "\n" not in text and len(text) < len(str(path)) + 300


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip


@given(data=st.data())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_result_with_any_value_in_any_place_is_read_or_refused(data, tmp_path):
    path = write(made("alpha", 0.5), tmp_path)
    part = document = json.loads(path.read_text("utf-8"))
    while True:
        key = data.draw(st.sampled_from(sorted(part)))
        if isinstance(part[key], dict) and part[key] and data.draw(st.booleans()):
            part = part[key]
            continue
        part[key] = data.draw(VALUES)
        break
    path.write_text(json.dumps(document), "utf-8")
    try:
        doubt(path)
    except InputError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "results").glob("*.json")), ids=lambda path: path.name,
)  # fmt: skip
def test_published_numbers_are_computed_again_with_their_intervals(path):
    """Criteria give what the two ways of averaging gave, to rounding."""
    result = read_result(path)
    table = read_table(result, path)
    found = numbers(result.benchmark.own_criteria(), table.rewards, scored(table), 1.0)
    for name, metric in result.metrics.items():
        headline = found[name].headline
        assert headline.mean == pytest.approx(metric.headline.score, rel=1e-12)
        assert headline.interval == pytest.approx(metric.headline.interval, rel=1e-12)
        for task, score in metric.tasks.items():
            part = found[name].part(Criterion(name, task))
            assert part.mean == pytest.approx(score.score, rel=1e-12)
            assert part.interval == pytest.approx(score.interval, rel=1e-12)
