"""`rewardkit threshold` proposes what the percentile of the scores is, as a term of a spec."""

import json
import os

import hypothesis.strategies as st
import pytest
from click.testing import CliRunner
from hypothesis import given

from rewardkit.cli import main
from rewardkit.cli.threshold import shortest
from rewardkit.engine.registry import resolve
from rewardkit.engine.spec import parse
from rewardkit.records.documents import DamagedDocument, read_json
from rewardkit.records.rows import Row, write_rows


def run(*arguments):
    return CliRunner().invoke(main, ["threshold", *map(str, arguments)])


@pytest.fixture
def table(tmp_path):
    """Scores of sharpness 0, 1, ... 10 and one null; of another machine's plug-in 11 times 7."""
    rows = [Row(str(i), "p", None, {"sharpness": float(i), "their.v1": 7.0}) for i in range(11)]
    rows.append(Row("bad", "p", None, {"sharpness": None, "their.v1": None}, error="it failed"))
    write_rows(tmp_path / "scores.csv", rows, ["sharpness", "their.v1"], with_total=False)
    return tmp_path / "scores.csv"


# The 80th percentile of 0 .. 10 is 8; 9 and 10 are above it.
def test_the_term_is_printed_and_parses(table):
    result = run(table, "sharpness", "--percentile", 80)
    assert (result.exit_code, result.stdout) == (0, "sharpness@8.0\n")
    assert result.stderr == "2 of 11 scores are above it\n"
    (term,) = parse(result.stdout.strip(), resolve).terms
    assert [term.value(8.0), term.value(8.5)] == [0.0, 1.0]


def test_json_says_what_it_was_computed_from(table):
    result = run(table, "sharpness", "--percentile", 25, "--json")
    assert json.loads(result.stdout) == {
        "term": "sharpness@2.5",
        "reward": "sharpness",
        "threshold": 2.5,
        "percentile": 25.0,
        "scores": 11,
        "null": 1,
        "above": 8,
    }


def test_where_all_scores_are_equal_none_is_above_and_that_is_said(table):
    result = run(table, "their.v1", "--percentile", 80)
    assert result.stdout == "their.v1@7.0\n" and "0 of 11" in result.stderr


def test_a_bare_family_means_its_default(tmp_path):
    rows = [Row(str(i), "p", "a cat", {"hps.v2.1": 0.28 + i / 1000}) for i in range(11)]
    write_rows(tmp_path / "scores.parquet", rows, ["hps.v2.1"], with_total=False)
    # Half of 0.280 .. 0.290 lies above 0.285.
    assert run(tmp_path / "scores.parquet", "hps").stdout == "hps.v2.1@0.285\n"


@pytest.mark.parametrize(
    ("reward", "code", "what"),
    [
        ("contrast", 2, "unknown score 'contrast'"),
        ("sharpnes", 2, "Did you mean 'sharpness'"),
        ("", 2, "unknown reward"),
    ],
)
def test_a_reward_that_is_no_column_is_wrong_usage(table, reward, code, what):
    result = run(table, reward)
    assert result.exit_code == code and what in result.stderr and not result.stdout


def test_a_table_without_a_score_is_a_failure(tmp_path):
    rows = [Row("a", "p", None, {"sharpness": None}, error="it failed")]
    write_rows(tmp_path / "scores.csv", rows, ["sharpness"], with_total=False)
    result = run(tmp_path / "scores.csv", "sharpness")
    assert result.exit_code == 1 and "no score of sharpness" in result.stderr


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_pipe_and_a_device_are_refused_at_once(tmp_path, suffix):
    os.mkfifo(tmp_path / f"pipe.{suffix}")
    (tmp_path / f"zero.{suffix}").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        result = run(tmp_path / f"{name}.{suffix}", "sharpness")
        assert result.exit_code == 1 and "a pipe or a device" in result.stderr
        with pytest.raises(DamagedDocument, match="a pipe or a device"):
            read_json(tmp_path / f"{name}.{suffix}")


def test_digits_are_kept_where_fewer_would_let_others_pass():
    # Rounded to four digits the bound would be 0.9999, and three scores above it instead of one.
    scores = [0.99991, 0.99993, 0.99995]
    assert shortest(0.99993, scores) == 0.99993
    assert shortest(0.28714999, [0.1, 0.5]) == 0.2871


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(-1e6, 1e6))
def test_the_shortest_bound_lets_the_same_scores_pass(scores, bound):
    assert [s > shortest(bound, scores) for s in scores] == [s > bound for s in scores]
