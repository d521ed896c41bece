"""Result files below folders: what counts, what is left out, and how that is told."""

import json
import shutil
from pathlib import Path

import pytest
from made_results import made, write

from leaderboards.assemble import leaderboard
from leaderboards.load import load
from rewardkit.errors import InputError

# Written by the first form of results, never to be written again: it is read for ever.
FIRST_FORM = Path(__file__).parent / "results"


def models(found):
    return sorted(loaded.result.model.name for loaded in found)


def test_results_are_found_at_any_depth(tmp_path):
    write(made("alpha"), tmp_path)
    write(made("beta"), tmp_path / "deep" / "deeper")
    found, notes = load([tmp_path])
    assert models(found) == ["alpha", "beta"]
    assert notes == []
    assert all(len(loaded.rows) == 48 for loaded in found)


def test_a_file_that_is_named_is_read(tmp_path):
    write(made("beta"), tmp_path)
    assert models(load([write(made("alpha"), tmp_path)])[0]) == ["alpha"]


def test_folders_of_two_machines_merge(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    trained = {"alias": "alpha", "trained_on": {"reward": "judge"}}
    write(made("alpha", 0.5, model={"source": "/home/one", **trained}), here)
    write(made("beta", 0.9), there)
    together = tmp_path / "both"
    shutil.copytree(here, together)
    shutil.copytree(there, together, dirs_exist_ok=True)
    (apart,) = leaderboard([here, there]).boards
    (merged,) = leaderboard([together]).boards
    rows = [
        (entry.label, entry.score, entry.ranks, entry.trained_metrics) for entry in apart.entries
    ]
    assert rows == [
        (entry.label, entry.score, entry.ranks, entry.trained_metrics) for entry in merged.entries
    ]
    assert [row[2:] for row in rows] == [((1, 1), ()), ((2, 2), ("judge",))]


def test_other_files_are_left_out_and_told(tmp_path):
    write(made("alpha"), tmp_path)
    (tmp_path / "list.json").write_text("[1, 2]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "rewardkit.json").write_text("{}")
    measured = {"schema_version": 1, "kind": "preferences"}
    (tmp_path / "rewards.json").write_text(json.dumps(measured))
    (tmp_path / "alpha.parquet.meta.json").write_text("{}")
    found, notes = load([tmp_path])
    assert models(found) == ["alpha"]
    assert notes[0] == (
        "2 JSON files are no result of a model: "
        f"{tmp_path / 'list.json'}, {tmp_path / 'rewards.json'}"
    )
    assert notes[1].startswith(f"1 JSON file is left out: {tmp_path / 'broken.json'} is damaged")


def broken(whole, change):
    return json.dumps(json.loads(whole) | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda whole: broken(whole, {"schema_version": 3}), "has version 3"),
        (lambda whole: broken(whole, {"score": "high"}), "is damaged: score"),
        (lambda whole: broken(whole, {"n_scored": -1}), "is damaged: n_scored"),
        (lambda whole: whole[: len(whole) // 2], "is damaged: it is not JSON"),
        (lambda whole: "[" * 100_000, "is damaged: it is not JSON: nested too deep"),
        (lambda whole: "\udcff", "is damaged: it is not JSON"),
    ],
)
def test_a_damaged_file_is_left_out_and_told_and_the_others_stay(tmp_path, text, message):
    bad = write(made("alpha"), tmp_path / "bad")
    bad.write_bytes(text(bad.read_text()).encode("utf-8", "surrogateescape"))
    write(made("beta"), tmp_path)
    found, (note,) = load([tmp_path])
    assert models(found) == ["beta"]
    assert note.startswith(f"1 JSON file is left out: {bad} ") and message in note
    with pytest.raises(InputError, match=message):
        load([bad])  # one that was named
    with pytest.raises(InputError, match=message):
        leaderboard([tmp_path / "bad"])  # nothing is left


def test_rows_that_cannot_be_read_leave_a_result_unranked(tmp_path):
    path = write(made("alpha", 0.9), tmp_path)
    write(made("beta", 0.5), tmp_path)
    (tmp_path / "alpha.quiz.csv").write_text("no table")
    (board,) = leaderboard([tmp_path]).boards
    assert [(entry.model, entry.ranks is None) for entry in board.entries] == [
        ("beta", False), ("alpha", True),
    ]  # fmt: skip
    assert "its rows cannot be read" in board.entries[1].unranked
    assert path.is_file()


def test_a_headline_that_its_rows_contradict_is_not_ranked(tmp_path):
    path = write(made("alpha", 0.5), tmp_path)
    write(made("beta", 0.6), tmp_path)
    document = json.loads(path.read_text())
    for of in (document, document["metrics"]["judge"]["headline"]):
        of.update(score=0.99, interval=[0.98, 0.995])
    path.write_text(json.dumps(document))
    (board,) = leaderboard([tmp_path]).boards
    first, last = board.entries
    assert (first.model, first.ranks, last.ranks) == ("beta", (1, 1), None)
    assert last.unranked == "its rows give 0.51 for judge, and it says 0.99"


def test_a_folder_that_is_not_there_is_a_failure(tmp_path):
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        load([tmp_path / "nowhere"])


def test_a_result_without_rows_has_none(tmp_path):
    write(made("alpha", rows=False), tmp_path)
    assert load([tmp_path])[0][0].rows is None


def two(tmp_path, first, second):
    """What is kept of two results, and what is told, given in either order."""
    write(first, tmp_path / "a")
    write(second, tmp_path / "b")
    found, notes = load([tmp_path / "a", tmp_path / "b"])
    again, same = load([tmp_path / "b", tmp_path / "a"])
    assert [loaded.path for loaded in again] == [item.path for item in found]
    assert same == notes
    return [item.path.parent.name for item in found], notes


def test_of_two_results_of_one_model_and_protocol_the_newest_counts(tmp_path):
    old = made("alpha", 0.5, created="2026-01-01T00:00:00+00:00")
    new = made("alpha", 0.7, created="2026-01-02T00:00:00+00:00", device="cuda")
    kept, (note,) = two(tmp_path, old, new)
    assert kept == ["b"]
    assert note == (
        f"{tmp_path}/a/alpha.quiz.json is left out: {tmp_path}/b/alpha.quiz.json, of the same "
        "model and protocol, is newer"
    )


def test_a_complete_result_counts_before_a_newer_incomplete_one(tmp_path):
    whole = made("alpha", 0.5, created="2026-01-01T00:00:00+00:00")
    part = made(
        "alpha", lambda task, index, sample: None if index else 0.5, sha256="1" * 64,
        created="2026-01-02T00:00:00+00:00",
    )  # fmt: skip
    kept, (note,) = two(tmp_path, whole, part)
    assert kept == ["a"]
    assert note.endswith("has more pictures")


def test_a_whole_counts_before_its_shards(tmp_path):
    kept, (note,) = two(tmp_path, made("alpha", shard="1/2", sha256="1" * 64), made("alpha"))
    assert kept == ["b"]
    assert note.endswith("is the whole of it")


def test_shards_without_a_whole_stay(tmp_path):
    kept, notes = two(tmp_path, made("alpha", shard="1/2"), made("alpha", shard="2/2"))
    assert (kept, notes) == (["a", "b"], [])


def test_copies_of_one_result_count_once(tmp_path):
    kept, (note,) = two(tmp_path, made("alpha"), made("alpha"))
    assert kept == ["a"]
    assert note.endswith("is of the same pictures")


@pytest.mark.parametrize("changed", [{"steps": 50}, {"model": {"revision": "abc"}}])
def test_results_of_another_protocol_or_model_both_count(tmp_path, changed):
    kept, notes = two(tmp_path, made("alpha"), made("alpha", **changed))
    assert (kept, notes) == (["a", "b"], [])


def test_a_model_with_an_alias_is_the_same_wherever_it_lies(tmp_path):
    one, other = (
        made("alpha", model={"alias": "alpha", "source": f"/{home}"}) for home in ("one", "two")
    )
    kept, _ = two(tmp_path, one, other)
    assert kept == ["a"]


def test_a_result_that_two_folders_hold_is_read_once(tmp_path):
    write(made("alpha"), tmp_path / "a")
    assert load([tmp_path, tmp_path / "a", tmp_path / "a" / ".." / "a"])[1] == []


def test_a_result_of_the_first_form_is_read_for_ever():
    found = leaderboard([FIRST_FORM])
    (board,) = found.boards
    assert (board.benchmark, board.version, board.metric) == ("quiz", "1", "judge")
    assert (board.tasks, board.metrics, board.prompts) == (("colors", "counting"), ("second",), 24)
    (entry,) = board.entries
    assert (entry.model, entry.label, entry.ranks) == ("alpha", "alpha", (1, 1))
    assert entry.score.score == 0.26000000000000006
    assert entry.score.interval == (0.25636363636363635, 0.2631818181818182)
    assert (entry.score.n, entry.score.expected) == (48, 48)
    assert entry.metrics["second"].score == 0.13000000000000003
    assert entry.figures == {"share of prompts": 0.5}
    assert (entry.trained_on, entry.trained_metrics) == ("0.7*judge+1.4*other", ("judge",))
    assert entry.protocol == {
        "samples": "2",
        "seed": "0",
        "steps": "20",
        "guidance": "4.5",
        "size": "512x512",
        "scheduler": "DDIMScheduler",
        "dtype": "float32",
        "batch": "4",
        "scheduler steps offset": "1",
    }
    assert entry.media == Path("pictures/alpha")
    assert entry.path == FIRST_FORM / "alpha.quiz.json"
