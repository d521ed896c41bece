"""An output that something else wrote is refused in one sentence that says what to do."""

import json

import pytest

from rewardkit.errors import InputError
from rewardkit.records.rows import Row
from rewardkit.records.scorefile import ScoreFile, meta_path
from rewardkit.records.seen import Seen

MADE_BY = {"spec": "sharpness"}
GOOD = {"id": "a", "path": "a.png", "prompt": None, "scores": {"sharpness": 1.0}, "read_at": 1.0}


def opened(path):
    return ScoreFile.open(path, MADE_BY, ["sharpness"], with_total=False, overwrite=False)


@pytest.mark.parametrize(
    "change",
    [
        {"read_at": None},
        {"read_at": "now"},
        {"read_at": True},
        {"read_at": 10**400},
        {"id": 7},
        {"path": None},
        {"prompt": ["a"]},
        {"error": {}},
        {"scores": [1.0]},
        {"scores": {"sharpness": "high"}},
        {"scores": {"sharpness": True}},
        {"scores": {"sharpness": 1e300}},
        {"total": "x"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_row_of_a_journal_that_is_none_is_refused(tmp_path, change):
    path = tmp_path / "a.csv"
    journal = tmp_path / "a.csv.journal"
    journal.write_text(f"{json.dumps(MADE_BY)}\n{json.dumps([{**GOOD, **change}])}\n")
    with pytest.raises(
        InputError, match=rf"{journal} is not a journal of rewardkit: .*--overwrite"
    ):
        opened(path)


@pytest.mark.parametrize("key", GOOD)
def test_a_row_of_a_journal_that_lacks_something_is_refused(tmp_path, key):
    record = {name: value for name, value in GOOD.items() if name != key}
    (tmp_path / "a.csv.journal").write_text(f"{json.dumps(MADE_BY)}\n{json.dumps([record])}\n")
    with pytest.raises(InputError, match="is not a journal of rewardkit"):
        opened(tmp_path / "a.csv")


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "[]", "7", "{}", '{"oldest_read": NaN}', '{"oldest_read": "x"}', "\x80"],
    ids=lambda text: text[:20],
)
def test_a_provenance_that_is_none_is_refused_before_scoring(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_text("id,path,prompt,sharpness,error\n")
    meta_path(path).write_text(text, "latin-1")
    with pytest.raises(InputError, match=r"a\.csv exists.*--overwrite"):
        opened(path)


def test_leftovers_of_killed_writers_go_with_the_next_owner(tmp_path):
    path = tmp_path / "a.csv"
    for name in (".a.01234567.csv", ".a.csv.meta.89abcdef.json", ".a.csv.01234567.journal"):
        (tmp_path / name).touch()
    with opened(path) as file:
        assert [p.name for p in tmp_path.iterdir()] == ["a.csv.journal"]
        file.add([(Seen(1.0, None), Row("a", "a.png", None, {"sharpness": 1.0}))])
        with pytest.raises(InputError, match="being written by another process"):
            opened(path)


def test_the_number_of_rows_that_is_told_is_that_of_the_table(tmp_path):
    with opened(tmp_path / "a.csv") as file:
        rows = [Row(name, f"{tmp_path}/no.png", None, {"sharpness": 1.0}) for name in "abc"]
        file.add([(Seen(1.0, None), row) for row in rows])
        with pytest.raises(InputError, match="holds 3 rows, and 'c' is not among the 2"):
            file.reconcile(dict.fromkeys("ab"), {key: [tmp_path / "no.png"] for key in "ab"})
