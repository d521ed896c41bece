"""The numbers from papers: each row whole, its sums right, conflicts told."""

from collections import Counter
from decimal import Decimal

import pytest

from benchmarks.benchmark import get
from leaderboards.published import FOLDER, published, read
from rewardkit.engine.registry import list_rewards
from rewardkit.errors import InputError

ROWS = published()
GENEVAL = [row for row in ROWS if row.benchmark == "geneval"]
HPS = [row for row in ROWS if row.benchmark.startswith("hps.")]


def test_all_rows_are_read():
    files = {path.name: len(read(path)) for path in FOLDER.glob("*.csv")}
    assert files == {"dancegrpo.csv": 40, "flow-grpo.csv": 4, "geneval.csv": 33, "hps.csv": 53}
    assert len(ROWS) == sum(files.values())


@pytest.mark.parametrize("row", [row for row in ROWS if row.tasks], ids=lambda row: row.model)
def test_a_score_is_the_mean_of_its_tasks(row):
    """Within rounding: half a digit of the mean of the tasks, and half a digit of the score."""
    mean = sum(row.tasks.values()) / len(row.tasks)
    if abs(mean - row.score) > Decimal("0.01"):
        assert "The mean of its" in row.note
    else:
        assert row.note is None or "The mean of its" not in row.note


def test_rows_have_all_tasks_of_their_benchmark_or_none():
    tags = {"single_object", "two_object", "counting", "colors", "position", "color_attr"}
    assert {frozenset(row.tasks) for row in GENEVAL} == {frozenset(), frozenset(tags)}
    styles = {"anime", "concept-art", "paintings", "photo"}
    assert {frozenset(row.tasks) for row in HPS} == {frozenset(), frozenset(styles)}


def test_scores_are_in_the_unit_of_the_benchmark():
    for row in (*GENEVAL, *HPS):
        benchmark = get(row.benchmark)
        assert row.unit == benchmark.unit
        assert row.metric == benchmark.rewards.partition("+")[0]
    assert all(0 <= row.score <= 1 for row in GENEVAL)
    assert all(10 < row.score < 40 for row in HPS)


def test_metrics_that_rewardkit_knows_have_its_names():
    known = {card.name for card in list_rewards()}
    foreign = {row.metric for row in ROWS} - known
    assert foreign <= {
        "ocr", "visionreward", "videoalign.vq", "videoalign.mq", "videoalign.ta",
    }  # fmt: skip


def test_no_two_rows_of_a_column_share_a_name():
    names = Counter((row.benchmark, row.metric, row.model) for row in ROWS)
    assert max(names.values()) == 1


def by_model(model, benchmark="geneval"):
    (row,) = [row for row in ROWS if (row.model, row.benchmark) == (model, benchmark)]
    return row


def test_sd3_medium_is_not_the_row_of_the_larger_model():
    small, large = by_model("SD3 2B"), by_model("SD3 8B + DPO, 1024")
    printed = by_model("SD3-Medium (as printed)")
    assert (str(small.score), str(large.score)) == ("0.62", "0.74")
    assert printed.tasks == large.tasks
    assert "8B" in printed.note and "0.62" in printed.note


def test_rows_that_contradict_one_another_stay_apart():
    flux = [by_model(f"FLUX.1-dev ({letter})") for letter in "abcd"]
    assert [str(row.score) for row in flux] == ["0.66", "0.66", "0.67", "0.82"]
    assert all("One of four" in row.note for row in flux)
    assert [row.rewriter for row in flux] == [None, None, None, True]


def test_models_that_were_trained_on_the_metric_say_so():
    assert by_model("SD3.5-M + Flow-GRPO").trained_on == "geneval"
    assert by_model("FLUX.1-dev + DanceGRPO, HPS").trained_on == "hps.v2.1"
    assert str(by_model("FLUX.1-dev + DanceGRPO, HPS").score) == "0.561"
    assert str(by_model("FLUX.1-dev + DanceGRPO, HPS", "hps.v2.1").score) == "37.2"


HEAD = (FOLDER / "flow-grpo.csv").read_text("utf-8").splitlines()[0]
ROW = {
    "model": "m", "task": "text-to-image", "benchmark": "b", "metric": "r", "unit": "u",
    "score": "1", "source": "s", "evidence": "read", "verified": "no",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"score": ""}, "line 2: score"),
        ({"score": "nan"}, "line 2: score"),
        ({"source": ""}, "line 2: source"),
        ({"evidence": "memory"}, "line 2: evidence"),
        ({"task": "audio"}, "line 2: task"),
        ({"part:colors": "good"}, "line 2: tasks.colors"),
        ({"colour": "red"}, "line 2: colour"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, changed, message):
    row = {**ROW, **changed}
    names = [*HEAD.split(","), *(name for name in row if name not in HEAD)]
    path = tmp_path / "rows.csv"
    path.write_text(",".join(names) + "\n" + ",".join(row.get(name, "") for name in names) + "\n")
    with pytest.raises(InputError, match=message):
        read(path)
