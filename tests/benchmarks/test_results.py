"""Result files: read for ever, and refused where they are none."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_benchmarks import changed, result_of

from benchmarks.reading import read_result, read_table
from benchmarks.results import Result, file_name
from benchmarks.rows import checksum, clusters, place
from rewardkit.cli import main
from rewardkit.errors import InputError, UsageError
from rewardkit.records.rows import Row, Table

DATA = Path(__file__).parent / "data"
OLD = DATA / "shapes-flow.tiny.json"


@pytest.fixture
def path(folder, tmp_path):
    return result_of(folder, tmp_path / "results")


def test_a_result_is_read_as_it_was_written(path):
    result = read_result(path)
    assert Result.model_validate_json(result.model_dump_json()) == result
    assert json.loads(path.read_text())["score"] == result.score
    assert json.loads(path.read_text())["schema_version"] == 2


def test_a_result_can_be_named_by_a_string(path):
    assert read_result(str(path)) == read_result(path)


def test_the_first_version_is_read_for_ever():
    """The file was written by version 1 of the schema, and stays."""
    result = read_result(OLD)
    assert result.model.alias == "shapes-flow" and result.benchmark.name == "tiny"
    assert result.complete and result.n_scored == 14
    assert result.score == pytest.approx(result.metrics["sharpness"].headline.score)
    assert result.protocol.sampling["steps"] == 2 and result.protocol.seed == 0
    rows = read_table(result, OLD).rows
    assert len(rows) == 14 and place(rows[3].id) == ("boxes", 1, 1)
    old, new = json.loads(OLD.read_text("utf-8")), json.loads(result.model_dump_json())
    assert new.pop("media") == old.pop("pictures")
    assert (new.pop("schema_version"), old.pop("schema_version")) == (2, 1)
    assert old["benchmark"].pop("headline") == "tasks"
    assert [criterion["tag"] for criterion in new["benchmark"].pop("criteria")] == [
        "rings",
        "boxes",
        "stars",
    ]
    assert new == old


def test_rows_are_a_table_that_rewardkit_compare_reads(path, folder, tmp_path):
    other = result_of(folder, tmp_path / "results", name="other")
    tables = [str(result.with_suffix(".parquet")) for result in (path, other)]
    done = CliRunner().invoke(main, ["compare", *tables, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["pairs"] == 14


def test_a_result_has_a_data_frame_of_its_rows(path):
    result = read_result(path)
    frame = result.frame()
    assert list(frame.columns) == [
        "id", "tags", "index", "sample", "path", "prompt", *result.rewards, "error",
    ]  # fmt: skip
    assert len(frame) == result.n_scored == 14
    rows = read_table(result, path).rows
    assert frame["id"].tolist() == [row.id for row in rows]
    assert (frame.loc[3, "tags"], frame.loc[3, "index"], frame.loc[3, "sample"]) == place(
        rows[3].id
    )
    means = frame.groupby("tags")[result.benchmark.metric].mean()
    assert means.mean() * result.benchmark.scale == pytest.approx(result.score)
    read_again = Result.model_validate_json(result.model_dump_json())
    with pytest.raises(UsageError, match=r"read it with benchmarks\.reading\.read_result"):
        read_again.frame()


def refused(path, text=None):
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as raised:
        read_result(path)
    assert str(path) in str(raised.value)
    return str(raised.value)


def test_a_newer_form_asks_for_an_update(path):
    document = json.loads(path.read_text())
    assert "update rewardkit" in refused(
        path, json.dumps({**document, "schema_version": 3, "new": 1})
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read as a result"),
        ("[]", "no result of `rewardkit bench`"),
        ("{}", "no schema_version"),
        ('{"schema_version": "1"}', "no schema_version"),
        ('{"schema_version": 1}', "damaged: score"),
        ('{"schema_version": 2}', "damaged: score"),
    ],
)
def test_what_is_no_result_is_named(text, why, path):
    assert why in refused(path, text)
    path.unlink()
    assert "cannot be read" in refused(path)


@pytest.mark.parametrize(
    ("key", "value", "where"),
    [
        ("score", float("nan"), "score"),
        ("score", "high", "score"),
        ("n_scored", None, "n_scored"),
        ("extra", 1, "extra"),
        ("benchmark", {}, "benchmark.name"),
    ],
)
def test_a_damaged_file_is_named_with_the_place(key, value, where, path):
    document = json.loads(path.read_text())
    assert f"damaged: {where}" in refused(path, json.dumps({**document, key: value}))


def test_rows_that_are_not_there_or_of_other_rewards_are_told(path):
    result = read_result(path)
    changed(path, rows="nothing.parquet")
    with pytest.raises(InputError, match=r"nothing\.parquet"):
        read_table(read_result(path), path)
    only = {"sharpness": result.metrics["sharpness"]}
    with pytest.raises(InputError, match="not of one run"):
        read_table(result.model_copy(update={"metrics": only}), path)


def test_files_are_named_for_model_and_benchmark():
    assert file_name("hps.v2.1", "sd1.4") == "sd1.4.hps.v2.1"
    assert file_name("prompts/a", "us/model+run", "3/8") == "us-model-run.prompts-a.shard-3-of-8"
    for name in ("", "../x", ".x", "/"):
        with pytest.raises(UsageError, match="begins with a letter or a digit"):
            file_name("tiny", name)


def test_ids_name_task_prompt_and_sample():
    assert place("concept-art/01234-00") == ("concept-art", 1234, 0)
    for id in ("colors", "a/b/00001-01", "a/00001", "a b/00001-01"):
        with pytest.raises(InputError, match="TAG/00012-03"):
            place(id)


def test_checksums_add_up_in_any_order():
    parts = [f"{n:064x}" for n in (2**256 - 1, 5, 7)]
    assert checksum(parts) == checksum(parts[::-1]) == f"{11:064x}"
    assert checksum([checksum(parts[:2]), checksum(parts[2:])]) == checksum(parts)


def test_lines_that_repeat_a_prompt_of_their_task_are_one_prompt():
    def row(task, index, sample, prompt):
        return Row(f"{task}/{index:05d}-{sample:02d}", "a.png", prompt, {"sharpness": 1.0})

    table = Table(
        (
            row("two", 5, 0, "a ring"),
            row("one", 3, 0, "a ring"),
            row("one", 3, 1, "a ring"),
            row("one", 1, 0, "a ring"),
            row("one", 2, 0, "a box"),
            row("one", 4, 0, None),
        ),
        ("sharpness",),
        with_total=False,
    )
    assert clusters(table) == {
        "two/00005-00": 5,
        "one/00003-00": 1,
        "one/00003-01": 1,
        "one/00001-00": 1,
        "one/00002-00": 2,
        "one/00004-00": 4,
    }
