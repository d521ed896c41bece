"""`rewardkit bench preferences` from pictures to a result: numbers, failures, kill and resume."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image
from scripted_endpoint import scripted
from scripted_judge import images, judge, yes

from benchmarks.preferences.results import PreferenceResult
from benchmarks.preferences.runner import measure
from rewardkit.cli import main
from rewardkit.engine import reading
from rewardkit.records.rows import read_rows


def bench(*arguments):
    return CliRunner().invoke(main, ["bench", "preferences", *map(str, arguments)])


def result_in(folder):
    (path,) = (file for file in folder.glob("*.json") if ".meta." not in file.name)
    return path, PreferenceResult.model_validate_json(path.read_text("utf-8"))


def checkers(contrast, colour=0):
    """Grey checkers: the more contrast the sharper, with `colour` more colourful."""
    board = np.indices((16, 16)).sum(0) % 2 * contrast + 100
    return Image.fromarray(np.stack([board + colour, board, board], -1).astype(np.uint8))


# People prefer the sharper picture, but in the last question; none of the grey ones is colourful.
QUESTIONS = [
    {"prompt": "a board", "images": ["80.png", "40.png", "20.png"], "ranking": [1, 2, 3]},
    {"prompt": "a cloth", "images": ["20.png", "60.png"], "ranking": [2, 1]},
    {"prompt": "a floor", "images": ["40.png", "60.png"], "ranking": [1, 1]},
    {"prompt": "a board", "images": ["20.png", "80.png"], "ranking": [1, 2]},
]


@pytest.fixture
def manifest(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for contrast in (20, 40, 60, 80):
        checkers(contrast).save(folder / f"{contrast}.png")
    path = folder / "boards.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in QUESTIONS), "utf-8")
    return path


def test_rewards_are_measured_and_compared(manifest, tmp_path):
    done = bench(manifest, "-r", "sharpness+colorfulness", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    path, result = result_in(tmp_path / "out")
    assert path.name == "preferences.boards.sharpness-colorfulness.json"
    assert result.complete and result.failures == {}
    sharp, colour = result.agreement["sharpness"], result.agreement["colorfulness"]
    assert (sharp.accuracy.score, sharp.accuracy.n) == (4 / 5, 5)
    assert (sharp.with_ties.n, result.set.pairs, result.set.ties) == (6, 6, 1)
    assert (colour.accuracy.score, colour.ties_as_wrong.score) == (0.5, 0)
    assert (colour.with_ties.score, colour.epsilon) == (1 / 6, 0)
    change = result.changes["colorfulness"]
    assert change.difference == pytest.approx(0.5 - 0.8) and change.n == 5
    assert set(result.rewards) == {"sharpness", "colorfulness"}
    header, *lines = done.stdout.splitlines()
    assert header.split()[:2] == ["boards", "accuracy"]
    assert lines[0].split()[:2] == ["sharpness", "0.8000"]
    assert lines[1].split()[:2] == ["colorfulness", "0.5000"]
    assert "against sharpness" in done.stdout and "-0.3000" in done.stdout


def test_rows_name_question_and_picture_and_none_is_scored_twice(manifest, tmp_path):
    path, result = measure(str(manifest), "sharpness", tmp_path / "out")
    rows = read_rows(path.parent / result.rows).rows
    # The last question shows the first one's pictures with its prompt.
    assert [row.id for row in rows] == [
        "00000-00", "00000-01", "00000-02", "00001-00", "00001-01", "00002-00", "00002-01",
    ]  # fmt: skip
    assert rows[3].prompt == "a cloth" and rows[3].path.endswith("set/20.png")
    assert result.n_expected == result.n_scored == 7


def test_a_judge_behind_an_endpoint_is_measured_like_any_reward(manifest, tmp_path, home):
    """It likes contrast, as people do but in the last question."""
    with scripted() as endpoint:
        judge(endpoint, lambda number, body: yes(0.1 + images(body)[0].std() / 64))
        options = ["-r", "judge+sharpness", "--endpoint", endpoint.url, "-o", tmp_path / "out"]
        done = bench(manifest, *options)
    assert done.exit_code == 0, done.output
    _, result = result_in(tmp_path / "out")
    judged = result.agreement["judge.yes"].accuracy
    assert (judged.score, judged.n) == (4 / 5, 5)
    assert judged == result.agreement["sharpness"].accuracy
    assert result.rewards["judge.yes"]["model of the endpoint"] == "judge-8b (/models/judge)"
    assert done.stdout.splitlines()[1].split()[:2] == ["judge.yes", "0.8000"]


def test_json_is_the_file(manifest, tmp_path):
    done = bench(manifest, "-r", "sharpness", "-o", tmp_path, "--json")
    path, _ = result_in(tmp_path)
    assert done.stdout == path.read_text("utf-8")
    assert json.loads(done.stdout)["kind"] == "preferences"


def test_a_weighted_sum_is_measured_too(manifest, tmp_path):
    checkers(60, colour=9).save(manifest.parent / "60.png")
    found = [
        measure(str(manifest), "-0.1*sharpness+0.3*colorfulness", tmp_path)[1] for _ in range(2)
    ]
    assert found[0].agreement["total"].accuracy.score == pytest.approx(1 / 5)
    assert list(found[0].changes) == ["colorfulness", "total"]
    # The second time it is read from the table, to the same numbers.
    assert found[1].agreement == found[0].agreement


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_picture_that_cannot_be_scored_is_refused_or_marked(manifest, tmp_path, damage):
    picture = manifest.parent / "20.png"
    picture.unlink() if damage == "missing" else picture.write_bytes(b"no picture")
    done = bench(manifest, "-r", "sharpness", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "20.png" in done.stderr and "--allow-partial" in done.stderr
    assert not (tmp_path / "out" / "preferences.boards.sharpness.json").exists()
    done = bench(manifest, "-r", "sharpness", "-o", tmp_path / "out", "--allow-partial")
    assert done.exit_code == 0
    assert "incomplete: 5 of 7 files" in done.stdout and "00000-02: " in done.stderr
    _, result = result_in(tmp_path / "out")
    assert not result.complete and list(result.failures) == ["00000-02", "00001-00"]
    accuracy = result.agreement["sharpness"].accuracy
    assert (accuracy.score, accuracy.n, accuracy.expected) == (1, 1, 5)
    checkers(20).save(picture)
    done = bench(manifest, "-r", "sharpness", "-o", tmp_path / "out")
    assert done.exit_code == 0 and "incomplete" not in done.stdout


def test_pictures_that_are_not_there_at_all_are_refused(manifest):
    for picture in manifest.parent.glob("*.png"):
        picture.unlink()
    done = bench(manifest, "-r", "sharpness", "-o", manifest.parent / "out", "--allow-partial")
    assert done.exit_code == 1 and "has no picture of boards" in done.stderr


def test_wrong_usage_is_told_before_anything_is_read(manifest, tmp_path):
    for arguments, said in [
        (["imagereward", "-r", "sharpness"], "imagereward-test"),
        (["imagereward-test", "-r", "sharpness"], "with --media"),
        ([manifest, "-r", "sharpnes"], "sharpness"),
        ([manifest, "-r", "sharpness", "--weights", "x"], "NAME=PATH"),
        ([manifest, "-r", "temporal-stability"], "takes videos, and boards has images"),
        ([manifest], "--reward"),
    ]:
        done = bench(*arguments, "-o", tmp_path / "out")
        assert done.exit_code == 2 and said in done.stderr
    assert not (tmp_path / "out").exists()
    manifest.write_text("{}\n", "utf-8")
    done = bench(manifest, "-r", "sharpness", "-o", tmp_path / "out")
    assert done.exit_code == 1 and "line 1: prompt" in done.stderr


def test_a_killed_run_goes_on_to_the_same_result(manifest, tmp_path, monkeypatch):
    def stop(state):
        if state.done >= 4:
            raise KeyboardInterrupt

    read = []
    original = reading.read_image
    monkeypatch.setattr(
        reading, "read_image", lambda path, **rest: read.append(path) or original(path, **rest)
    )

    def measured(name, **rest):
        path, _ = measure(
            str(manifest), "sharpness+colorfulness", tmp_path / name, batch_size=2, **rest
        )
        document = json.loads(path.read_text("utf-8"))
        del document["created"]
        return document, read_rows(path.with_suffix(".parquet"))

    time.sleep(0.1)  # a file that is younger than the clock is sure of would be read again
    whole = measured("whole")
    with pytest.raises(KeyboardInterrupt):
        measured("killed", on_progress=stop)
    assert [path.suffix for path in (tmp_path / "killed").iterdir()] == [".journal"]
    read.clear()
    assert measured("killed") == whole
    assert len(read) == 3  # of seven, four were scored before
    read.clear()
    assert measured("killed") == whole and not read


def test_a_named_set_that_is_not_whole_is_refused_or_marked(tmp_path):
    pictures = []
    for contrast in (20, 80):
        stream = io.BytesIO()
        checkers(contrast).save(stream, "PNG")
        pictures.append(stream.getvalue())
    rows = [
        {"caption": "a board", "jpg_0": pictures[0], "jpg_1": pictures[1], "has_label": True,
         "label_0": label, "label_1": 1 - label}
        for label in (0.0, 0.0, 1.0)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test_unique-00000-of-00001.parquet")
    arguments = ("pick-a-pic.v2-test-unique", "--images", tmp_path, "-r", "sharpness")
    done = bench(*arguments, "-o", tmp_path / "out")
    assert done.exit_code == 1 and "497 lines" in done.stderr
    done = bench(*arguments, "-o", tmp_path / "out", "--allow-partial", "--json")
    assert done.exit_code == 0
    result = PreferenceResult.model_validate_json(done.stdout)
    assert not result.complete and result.set.missing == 497 and result.failures == {}
    assert result.agreement["sharpness"].accuracy.score == pytest.approx(2 / 3)
    assert result.n_expected == 2


def test_annotations_of_ones_own_are_read_instead_of_fetched_ones(manifest, tmp_path):
    entries = [
        {
            "prompt": question["prompt"],
            "image_path": question["images"],
            "rank": question["ranking"],
        }
        for question in QUESTIONS
    ]
    (tmp_path / "mine.json").write_text(json.dumps(entries), "utf-8")
    arguments = (
        "hpd.v2-test",
        "--images",
        manifest.parent,
        "-r",
        "sharpness",
        "-o",
        tmp_path / "out",
    )
    done = bench(*arguments, "--weights", f"hpd.v2-test={tmp_path / 'mine.json'}")
    assert done.exit_code == 0, done.output
    _, result = result_in(tmp_path / "out")
    assert result.agreement["sharpness"].accuracy.score == 4 / 5
    assert str(tmp_path / "mine.json") in result.set.source
    # A file that nothing reads is refused.
    done = bench(*arguments, "--weights", f"imagereward-test={tmp_path / 'mine.json'}")
    assert done.exit_code == 2


def test_help_loads_nothing_heavy():
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, rewardkit.cli as cli, click.testing as c;"
            "print(c.CliRunner().invoke(cli.main, ['bench', 'preferences', '--help']).output);"
            "print(*sys.modules)",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "imagereward-test" in shown
    assert not {"torch", "pyarrow", "numpy", "pydantic"} & set(shown.splitlines()[-1].split())
