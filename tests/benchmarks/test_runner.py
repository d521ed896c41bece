"""A result is the same however it came about: at once, resumed, or from shards."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tiny_benchmarks import CASES, PROMPTS, TINY, changed, fill, result_of, said, save

import rewardkit.records.scorefile as scorefile
from benchmarks import runner
from benchmarks.merging import merge
from benchmarks.prompts import PromptSet
from benchmarks.reading import read_result, read_table
from benchmarks.runner import ready, score
from benchmarks.shard import Shard
from rewardkit.engine.folder import score_folder
from rewardkit.errors import InputError, UsageError
from rewardkit.records.journal import Journal


@pytest.fixture
def whole(folder, tmp_path):
    """The result of an uninterrupted run."""
    return result_of(folder, tmp_path / "results")


def shards(folder, out, total=3, **options):
    return [
        result_of(folder, out, shard=Shard(number, total), **options)
        for number in range(1, total + 1)
    ]


def test_a_result_is_what_the_rewards_say_of_each_picture(whole, folder):
    result = read_result(whole)
    rows = read_table(result, whole).rows
    assert [row.id for row in rows] == [case.id(i) for case in CASES for i in range(2)]
    alone = {row.path: row.scores for row in score_folder(folder, "sharpness+colorfulness").rows}
    by_path = {str((whole.parent / row.path).resolve()): row.scores for row in rows}
    assert by_path == {str((folder / path).resolve()): scores for path, scores in alone.items()}
    # The headline is the mean of the means of tasks, times the scale.
    by_task = {task: [] for task in ("rings", "boxes", "stars")}
    for row in rows:
        by_task[row.id.split("/")[0]].append(10 * row.scores["sharpness"])
    means = {task: np.mean(values) for task, values in by_task.items()}
    assert {task: score.score for task, score in result.tasks.items()} == pytest.approx(means)
    assert result.score == pytest.approx(np.mean(list(means.values())))
    assert result.interval[0] <= result.score <= result.interval[1]
    assert [result.tasks[task].n for task in means] == [6, 4, 4]
    assert set(result.metrics) == {"sharpness", "colorfulness"}
    assert result.complete and result.n_scored == result.n_expected == 14
    assert result.figures == {"pictures with a score": 14}


def test_a_result_of_pictures_made_elsewhere_says_so(whole):
    result = read_result(whole)
    assert result.model.model_dump(exclude_none=True) == {"name": "mine"}
    assert not result.media.made_here and result.protocol.seed is None
    assert result.media.folder == "../pictures"
    assert result.versions["rewardkit"] and result.prompts.number == 7


POINTS = [
    *((Journal, "append", n, after) for n in (1, 3, 5) for after in (False, True)),
    (scorefile, "write_json", 1, True),
    (scorefile, "write_rows", 1, True),
    (runner, "write_json", 1, False),
]


@pytest.mark.parametrize(("module", "name", "n", "after"), POINTS)
def test_a_killed_run_goes_on_to_the_same_result(
    module, name, n, after, whole, folder, tmp_path, killed
):
    out = tmp_path / "killed"
    with pytest.raises(killed(module, name, n, after)):
        result_of(folder, out)
    assert not (out / whole.name).exists()
    assert said(result_of(folder, out)) == said(whole)


def test_scoring_again_scores_only_what_changed(folder, tmp_path, monkeypatch):
    time.sleep(0.1)  # what was scored sooner after it was made may have changed since
    before, scored = said(result_of(folder, tmp_path / "r")), []
    append = Journal.append
    monkeypatch.setattr(
        Journal, "append", lambda self, rows: scored.extend(rows) or append(self, rows)
    )
    assert said(result_of(folder, tmp_path / "r")) == before and not scored
    save(folder / "00003-01.png", 500)
    again = said(result_of(folder, tmp_path / "r"))
    assert [row["id"] for row in scored] == ["boxes/00003-01"]
    assert again != before


def test_merged_shards_are_the_whole(whole, folder, tmp_path):
    out = tmp_path / "shards"
    parts = shards(folder, out)
    assert [path.name for path in parts] == [f"mine.tiny.shard-{i}-of-3.json" for i in (1, 2, 3)]
    assert not any(read_result(path).complete for path in parts)
    merged = merge([parts[1], parts[2], parts[0]], TINY, PROMPTS, out)
    assert merged.name == whole.name and said(merged) == said(whole)


def test_shards_are_merged_from_and_into_any_folder(whole, folder, tmp_path):
    out = tmp_path / "shards"
    parts = shards(folder, out)
    merged = merge(parts, TINY, PROMPTS, tmp_path / "deep" / "down")
    result = read_result(merged)
    assert (merged.parent / result.media.folder).resolve() == folder.resolve()
    for row in read_table(result, merged).rows:
        assert (merged.parent / row.path).is_file()
    assert result.media.sha256 == read_result(whole).media.sha256


def test_scoring_goes_on_from_what_was_merged(whole, folder, tmp_path, monkeypatch):
    out = tmp_path / "shards"
    time.sleep(0.1)  # what was scored sooner after it was made may have changed since
    merged = merge(shards(folder, out), TINY, PROMPTS, out)
    with monkeypatch.context() as patched:
        patched.delattr(Journal, "append")  # nothing is scored again
        assert said(result_of(folder, out)) == said(whole)
    metas = [
        json.loads(Path(f"{meta.with_suffix('.parquet')}.meta.json").read_text())
        for meta in (merged, whole)
    ]
    for meta in metas:
        meta.pop("finished"), meta.pop("oldest_read")
    assert metas[0] == metas[1]


def test_shards_that_came_without_their_provenance_are_merged_too(folder, tmp_path):
    out = tmp_path / "shards"
    parts = shards(folder, out)
    next(out.glob("*2-of-3.parquet.meta.json")).unlink()
    assert read_result(merge(parts, TINY, PROMPTS, out)).complete
    assert not (out / "mine.tiny.parquet.meta.json").exists()
    with pytest.raises(InputError, match="--overwrite"):
        result_of(folder, out)


def test_shards_of_other_samples_are_merged_as_they_were_scored(tmp_path):
    single = replace(TINY, samples=1)
    fill(tmp_path / "p", single)
    parts = [
        score(single, PROMPTS, tmp_path / "p", tmp_path, name="m", shard=Shard(i, 2), device="cpu")
        for i in (1, 2)
    ]
    result = read_result(merge(parts, TINY, PROMPTS, tmp_path))
    assert result.complete and result.n_expected == 7


def test_a_missing_shard_is_named(folder, tmp_path):
    parts = shards(folder, tmp_path / "s")
    with pytest.raises(InputError, match="shard 2/3 is missing"):
        merge([parts[0], parts[2]], TINY, PROMPTS, tmp_path / "s")


def test_a_number_in_a_file_does_not_decide_how_long_merging_takes(folder, tmp_path, monkeypatch):
    parts = shards(folder, tmp_path / "s", 2)
    with pytest.raises(ValidationError, match="7 prompts have no shard 1/999999999"):
        changed(parts[0], shard="1/999999999")
    # What the schema cannot see: as many prompts.
    monkeypatch.setattr(
        "benchmarks.merging.read_result",
        lambda path: read_result(path).model_copy(
            update={"shard": f"{parts.index(path) + 1}/999999999"}
        ),
    )
    with pytest.raises(InputError) as raised:
        merge(parts, TINY, PROMPTS, tmp_path / "s")
    assert "shard 3/999999999, 4/999999999, " in str(raised.value)
    assert "12/999999999 and 999999987 more are missing" in str(raised.value)


@pytest.mark.parametrize(
    "text",
    ["[]", "5", "null", "{", "[" * 100_000, '{"oldest_read": "x", "n_expected": 1, "n_scored": 1}',
     '{"oldest_read": [], "n_expected": 1, "n_scored": 1}',
     '{"oldest_read": NaN, "n_expected": 1, "n_scored": 1}',
     '{"oldest_read": 1, "n_expected": 1e999, "n_scored": 1}'],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_shards_whose_provenance_is_damaged_are_merged_without(text, folder, tmp_path):
    parts = shards(folder, tmp_path / "s", 2)
    Path(f"{parts[1].with_suffix('.parquet')}.meta.json").write_text(text)
    assert read_result(merge(parts, TINY, PROMPTS, tmp_path / "s")).complete
    assert not (tmp_path / "s" / "mine.tiny.parquet.meta.json").exists()


def test_a_shard_given_twice_and_a_whole_are_refused(whole, folder, tmp_path):
    parts = shards(folder, tmp_path / "s")
    with pytest.raises(UsageError, match="every shard of one total number once"):
        merge([*parts, parts[0]], TINY, PROMPTS, tmp_path / "s")
    with pytest.raises(UsageError, match=r"mine\.tiny\.json is not a shard"):
        merge([*parts, whole], TINY, PROMPTS, tmp_path / "s")


def test_shards_of_another_number_are_refused(folder, tmp_path):
    parts = [*shards(folder, tmp_path / "s", 2), *shards(folder, tmp_path / "t", 3)]
    with pytest.raises(UsageError, match="every shard of one total number once"):
        merge(parts, TINY, PROMPTS, tmp_path / "s")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "other"}}, "model.name"),
        ({"protocol": {"seed": 3}}, "protocol.seed"),
        ({"prompts": {"sha256": "0" * 64}}, "prompts.sha256"),
        ({"benchmark": {"version": "2"}}, "benchmark.version"),
        ({"rewards": {"sharpness": {"dtype": "float16"}}}, "rewards.sharpness"),
    ],
)
def test_a_shard_of_another_run_is_refused(changes, message, folder, tmp_path):
    parts = shards(folder, tmp_path / "s", 2)
    changed(parts[1], **changes)
    with pytest.raises(InputError, match=f"are not of one run: {message}"):
        merge(parts, TINY, PROMPTS, tmp_path / "s")


def test_equal_prompts_of_files_at_other_places_are_one_run(folder, tmp_path):
    parts = shards(folder, tmp_path / "s", 2)
    changed(parts[1], prompts={"source": "/elsewhere/prompts.txt"})
    assert read_result(merge(parts, TINY, PROMPTS, tmp_path / "s")).complete


def test_rows_of_another_shard_are_refused(folder, tmp_path):
    parts = shards(folder, tmp_path / "s", 2)
    shutil.copy(parts[0].with_suffix(".parquet"), parts[1].with_suffix(".parquet"))
    with pytest.raises(InputError, match=r"has a row 'rings/00000-00', which is not of this shard"):
        merge(parts, TINY, PROMPTS, tmp_path / "s")


def test_what_is_missing_makes_a_result_incomplete(folder, tmp_path):
    (folder / "00001-00.png").unlink()
    result = read_result(result_of(folder, tmp_path / "r", allow_partial=True))
    assert not result.complete and (result.n_scored, result.n_expected) == (13, 14)
    assert (result.tasks["boxes"].n, result.tasks["boxes"].expected) == (3, 4)
    assert result.shard is None


def test_a_task_without_a_picture_has_no_score(folder, tmp_path):
    for path in [*folder.glob("00005-*"), *folder.glob("00006-*")]:
        path.unlink()
    result = read_result(result_of(folder, tmp_path / "r", allow_partial=True))
    assert result.tasks["stars"].model_dump() == {
        "score": None,
        "interval": None,
        "n": 0,
        "expected": 4,
    }
    assert not result.complete


@pytest.fixture
def failing(monkeypatch):
    """A picture of prompt 3 cannot be scored."""
    from rewardkit.engine.items import Reader

    read = Reader.read

    def some(self, item):
        if "00003-01" in item.path:
            raise InputError("the disk is gone")
        return read(self, item)

    monkeypatch.setattr(Reader, "read", some)


def test_a_picture_that_cannot_be_scored_is_never_a_number(failing, folder, tmp_path):
    with pytest.raises(InputError, match=r"1 of 14 pictures.*boxes/00003-01: the disk is gone"):
        result_of(folder, tmp_path / "r")
    assert not (tmp_path / "r" / "mine.tiny.json").exists()
    result = read_result(result_of(folder, tmp_path / "r", allow_partial=True))
    assert not result.complete and result.tasks["boxes"].n == 3
    assert result.figures == {"pictures with a score": 13}


def test_a_result_of_other_rewards_is_not_overwritten(whole, folder):
    other = replace(TINY, rewards="contrast")
    with pytest.raises(InputError, match=r"made with spec.*--overwrite"):
        score(other, PROMPTS, folder, whole.parent, name="mine", device="cpu")
    path = score(other, PROMPTS, folder, whole.parent, name="mine", device="cpu", overwrite=True)
    assert set(read_result(path).metrics) == {"contrast"}


def test_a_card_says_what_model_and_training_made_the_pictures(folder, tmp_path):
    made = {
        "model": {"source": "us/model", "alias": None, "revision": "a" * 40},
        "lora": "runs/a/model",
        "trained_on": {"reward": "sharpness"},
        "scheduler": {"class": "Euler"},
        "dtype": "bfloat16",
        "protocol": {"steps": 7},
        "prompts": PROMPTS.sha256,
        "samples": 2,
        "seed": 5,
        "batch": 2,
    }
    (folder / "rewardkit.json").write_text(json.dumps({"made_by": made}))
    result = read_result(result_of(folder, tmp_path / "r"))
    assert result.model.source == "us/model" and result.model.revision == "a" * 40
    assert result.model.lora == "runs/a/model"
    assert result.model.trained_on == {"reward": "sharpness"}
    assert result.protocol.model_dump() == {
        "samples": 2,
        "seed": 5,
        "sampling": {"steps": 7},
        "scheduler": {"class": "Euler"},
        "dtype": "bfloat16",
        "batch": 2,
    }
    assert result.media.made_here


def test_a_model_of_the_package_is_not_told_by_where_python_is_installed(flow, folder, tmp_path):
    from benchmarks.media import make

    few = PromptSet("few", CASES[:1])
    make(TINY, few, flow, tmp_path / "p", protocol=flow.protocol.changed({"steps": 1}))
    path = score(TINY, few, tmp_path / "p", tmp_path, name="flow", device="cpu")
    model = read_result(path).model
    assert model.source == "package:rewardkit.shapes/weights/shapes-flow"


@pytest.mark.parametrize("text", ["3/8", "1/1", "8/8"])
def test_a_shard_reads_as_it_is_written(text):
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3 "])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(UsageError, match="a shard is written 3/8"):
        Shard.parse(text)


def test_shards_part_the_prompts():
    parts = [Shard(number, 3).of(CASES) for number in (1, 2, 3)]
    assert sorted(case.index for part in parts for case in part) == list(range(7))


def test_what_scoring_needs_is_found_before_pictures_are_made(home, monkeypatch):
    import huggingface_hub.constants

    from rewardkit.errors import WeightsError

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    ready([(TINY, PROMPTS)], {})
    with pytest.raises(WeightsError, match=r"hps"):
        ready([(replace(TINY, rewards="sharpness+hps"), PROMPTS)], {})
    with pytest.raises(UsageError, match=r"geneval needs the key .* 7 of 7 in made up"):
        ready([(replace(TINY, rewards="geneval"), PROMPTS)], {})
    with pytest.raises(UsageError, match="motion-smoothness takes no pictures"):
        ready([(replace(TINY, rewards="motion-smoothness"), PROMPTS)], {})
    with pytest.raises(UsageError, match="unknown reward 'sharpnes'"):
        ready([(replace(TINY, rewards="sharpnes"), PROMPTS)], {})
    with pytest.raises(UsageError, match="unknown name of weights 'x'"):
        ready([(TINY, PROMPTS)], {"x": home})


def test_a_prompt_changed_under_a_result_is_refused(whole, folder):
    other = PromptSet("made up", [replace(CASES[0], prompt="another"), *CASES[1:]])
    with pytest.raises(InputError, match="made with the prompt"):
        score(TINY, other, folder, whole.parent, name="mine", device="cpu")
