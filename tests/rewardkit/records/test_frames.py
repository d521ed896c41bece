import math

import pytest

import rewardkit
from rewardkit.records.rows import Row, Table, write_rows
from rewardkit.records.scorefile import meta_path
from rewardkit.records.storage import write_json

ROWS = (
    Row("007", "a.png", "a cat", {"r": 0.1, "s": 2.0}, total=2.1),
    Row("b", "b.png", None, {"r": None, "s": 3.0}, error="it is truncated"),
)
NAMES = ["id", "path", "prompt", "r", "s", "total", "error"]


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_score_table_is_read_as_a_data_frame(tmp_path, suffix):
    path = tmp_path / f"scores{suffix}"
    write_rows(path, ROWS, ("r", "s"), with_total=True)
    frame = rewardkit.read_scores(path)
    assert list(frame.columns) == NAMES
    assert frame["id"].tolist() == ["007", "b"]
    assert frame["r"].dtype == "float32"
    assert frame["s"].mean() == 2.5
    assert math.isnan(frame["r"][1]) and math.isnan(frame["total"][1])
    assert frame["error"].tolist()[1] == "it is truncated"
    assert frame.equals(Table(ROWS, ("r", "s"), with_total=True).to_pandas())


def test_a_comparison_has_a_row_for_each_reward(tmp_path):
    for name, gain in (("before", 0), ("after", 1)):
        rows = [Row(str(i), f"{i}.png", f"p{i}", {"r": i + gain, "s": None}) for i in range(8)]
        write_rows(tmp_path / f"{name}.csv", rows, ("r", "s"), with_total=False)
        write_json(meta_path(tmp_path / f"{name}.csv"), {"rewards": {"r": {"dtype": name}}})
    found = rewardkit.compare(tmp_path / "before.csv", tmp_path / "after.csv")
    frame = found.frame()
    assert frame.index.tolist() == ["r", "s"]
    assert frame.loc["r", ["n", "before", "after", "difference", "low", "high"]].tolist() == [
        8, 3.5, 4.5, 1, 1, 1,
    ]  # fmt: skip
    assert frame.loc["r", "wins"] == 8
    assert frame.loc["s", "n"] == 0 and math.isnan(frame.loc["s", "difference"])
    assert frame.loc["s", "null_before"] == 8
    (warning,) = found.warnings
    assert "r was scored with different settings" in warning
