"""Folders in, rows out: resumed, refused, retried, and equal to scoring by hand."""

import json
import os
import time

import pytest
import torch
from pictures import picture, pil, twelve

import rewardkit
from rewardkit.engine.encoders import ClipEncoder
from rewardkit.engine.folder import score_folder
from rewardkit.engine.items import Progress
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.errors import InputError, RewardUnavailable, UsageError
from rewardkit.records.rows import read_rows

CHEAP = "contrast+sharpness"


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i, medium in enumerate(twelve()):
        pil(medium).save(folder / ("more" if i % 2 else ".") / f"{i:02d}.png")
    time.sleep(0.06)  # a file as young as this when it is read counts as possibly changed
    return folder


@pytest.fixture
def tiny(monkeypatch):
    """Networks are small and random: the whole way of a folder without a download."""
    real = Loader.__init__
    monkeypatch.setattr(
        Loader, "__init__", lambda self, *args, **more: real(self, *args, **more, tiny=True)
    )
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: {"spec": "tiny"})


def counting(tmp_path):
    """A reward that counts how often it is asked, and what for."""
    log = tmp_path / "asked"
    code = (
        "from pathlib import Path\n"
        "def mean(batch):\n"
        f"    with Path({str(log)!r}).open('a') as log:\n"
        "        log.write('x' * len(batch))\n"
        "    return [float(m.float().mean()) for m in batch.media]\n"
    )
    (tmp_path / "my.py").write_text(code)
    return f"{tmp_path / 'my.py'}:mean", lambda: len(log.read_text()) if log.exists() else 0


def test_rows_are_the_scores_of_each_file_by_itself(photos):
    report = score_folder(photos, CHEAP, batch_size=5)
    assert [row.id for row in report.rows[:3]] == ["00", "02", "04"]
    for row in report.rows:
        for name in ("contrast", "sharpness"):
            assert row.scores[name] == rewardkit.create(name)([row.path]).item()


def test_workers_and_batch_size_change_nothing(photos):
    one = score_folder(photos, CHEAP, batch_size=1, workers=1).rows
    assert one == score_folder(photos, CHEAP, batch_size=7, workers=4).rows


def test_prompts_reach_the_reward(photos, tiny, tmp_path):
    lines = [
        {"id": f"{'more/' if i % 2 else ''}{i:02d}", "prompt": f"number {i}"} for i in range(12)
    ]
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("\n".join(map(json.dumps, lines)))
    report = score_folder(photos, "clip.vit-b-32", prompts=prompts)
    clip = ClipEncoder.shared(entry("clip.vit-b-32").card.encoder, Loader("cpu"))
    for row in report.rows:
        assert row.prompt == f"number {int(row.id[-2:])}"
        pixels = clip.prepare(rewardkit.Batch.of([row.path]).samples[0])
        expected = (clip.features([pixels]).image * clip.encode_text([row.prompt])).sum()
        assert row.scores["clip.vit-b-32"] == pytest.approx(expected.item(), abs=1e-5)


def test_a_finished_run_is_not_repeated(photos, tmp_path):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    first = score_folder(photos, spec, output=out)
    again = score_folder(photos, spec, output=out)
    assert asked() == 12 and (first.reused, again.reused) == (0, 12)
    assert again.rows == first.rows == list(read_rows(out).rows)


def test_added_files_are_scored_alone(photos, tmp_path):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.jsonl"
    score_folder(photos, spec, output=out)
    pil(picture(99, 30, 30)).save(photos / "new.png")
    assert len(score_folder(photos, spec, output=out).rows) == 13
    assert asked() == 13


@pytest.mark.parametrize("keep_date", [False, True])
def test_a_file_that_changed_is_scored_again(photos, tmp_path, keep_date):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.csv"
    before = score_folder(photos, spec, output=out).rows
    time.sleep(0.06)
    changed = photos / "00.png"
    date = changed.stat().st_mtime_ns
    pil(picture(99, 30, 30)).save(changed)
    if keep_date:  # as a copy that preserves dates does
        os.utime(changed, ns=(date, date))
    after = score_folder(photos, spec, output=out).rows
    assert asked() == 13
    assert after[0].scores != before[0].scores and after[1:] == before[1:]


def test_a_file_that_failed_is_tried_again(photos, tmp_path):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    (photos / "bad.png").write_bytes(b"")
    assert score_folder(photos, spec, output=out).failed == 1
    pil(picture(99, 30, 30)).save(photos / "bad.png")
    assert score_folder(photos, spec, output=out).failed == 0
    assert asked() == 13


def test_other_rewards_are_refused_and_overwrite_starts_afresh(photos, tmp_path):
    out = tmp_path / "scores.parquet"
    score_folder(photos, "contrast", output=out)
    with pytest.raises(InputError, match=r'spec = "contrast", and now it is "sharpness"'):
        score_folder(photos, "sharpness", output=out)
    assert read_rows(out).rewards == ("contrast",)
    score_folder(photos, "sharpness", output=out, overwrite=True)
    assert read_rows(out).rewards == ("sharpness",)


def test_another_version_of_a_function_is_refused(photos, tmp_path):
    spec, _ = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    score_folder(photos, spec, output=out)
    with (tmp_path / "my.py").open("a") as code:
        code.write("# changed\n")
    with pytest.raises(InputError, match="sha256"):
        score_folder(photos, spec, output=out)


def test_other_prompts_are_refused(photos, tmp_path):
    out = tmp_path / "scores.parquet"
    score_folder(photos, "contrast", output=out, prompt="a cat")
    with pytest.raises(InputError, match="'a cat' for '00', and now it is 'a dog'"):
        score_folder(photos, "contrast", output=out, prompt="a dog")


def test_rows_of_other_files_are_not_lost(photos, tmp_path):
    out = tmp_path / "scores.parquet"
    score_folder(photos, "contrast", output=out)
    with pytest.raises(InputError, match=r"holds 12 rows, and '00' is not among the 6 files"):
        score_folder(photos / "more", "contrast", output=out)


def test_a_table_without_provenance_is_not_continued(photos, tmp_path):
    out = tmp_path / "scores.parquet"
    score_folder(photos, "contrast", output=out)
    (tmp_path / "scores.parquet.meta.json").unlink()
    with pytest.raises(InputError, match="which would say what made it"):
        score_folder(photos, "contrast", output=out)


def test_provenance_says_what_made_the_table(photos, tmp_path):
    out = tmp_path / "scores.parquet"
    score_folder(photos, "2*contrast+sharpness@100", output=out)
    meta = json.loads((tmp_path / "scores.parquet.meta.json").read_text())
    assert meta["spec"] == "2.0*contrast+sharpness@100.0"
    assert (meta["n_expected"], meta["n_scored"], meta["device"]) == (12, 12, "cpu")
    assert meta["versions"]["torch"].startswith(torch.__version__.partition("+")[0])


def test_a_total_is_written_where_the_spec_states_one(photos, tmp_path):
    out = tmp_path / "scores.jsonl"
    score_folder(photos, "2*contrast+sharpness@500", output=out)
    for row in read_rows(out).rows:
        expected = 2 * row.scores["contrast"] + (row.scores["sharpness"] > 500)
        assert row.total == pytest.approx(expected, rel=1e-6)


def test_progress_counts_every_file(photos):
    (photos / "bad.png").write_bytes(b"not a picture")
    seen = []
    score_folder(photos, "contrast", batch_size=5, on_progress=seen.append)
    assert seen == [
        Progress(0, 0, 13),
        Progress(5, 0, 13),
        Progress(10, 1, 13),
        Progress(13, 1, 13),
    ]


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            {"rewards": "sharpness+temporal-stability"},
            "no file can be scored by all .* sharpness takes images, temporal-stability takes vid",
        ),
        (
            {"rewards": "sharpness", "kind": "video"},
            "video files cannot be scored by all of these: sharpness takes images$",
        ),
        ({"rewards": "sharpness", "batch_size": 0}, "at least 1; given 0"),
        ({"rewards": "sharpness", "output": "scores.txt"}, r"\.parquet"),
        ({"rewards": "sharpness", "device": "abacus"}, "device 'abacus' cannot be used here"),
        ({"rewards": "sharpness", "dtype": "int8"}, "float32, bfloat16, float16"),
        ({"rewards": "clip.vit-b-32"}, r"00\.png has no prompt and clip\.vit-b-32 needs one"),
    ],
)
def test_a_wrong_request_stops_before_anything_is_scored(photos, options, what):
    with pytest.raises(UsageError, match=what):
        score_folder(photos, **options)


def test_some_missing_prompts_cost_only_their_files(photos, tiny, caplog):
    (photos / "00.txt").write_text("a cat")
    report = score_folder(photos, "clip.vit-b-32")
    assert report.failed == 11
    assert report.rows[0].error is None
    assert "needs a prompt" in report.rows[1].error
    assert "11 of 12 files" in caplog.text


def test_a_clock_that_was_ahead_hides_no_changed_file(photos, tmp_path, monkeypatch):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 2 * 86400)
    before = score_folder(photos, spec, output=out).rows
    monkeypatch.setattr(time, "time", real)
    pil(picture(99, 30, 30)).save(photos / "00.png")
    after = score_folder(photos, spec, output=out).rows
    assert asked() == 13
    assert after[0].scores != before[0].scores and after[1:] == before[1:]


def test_a_clock_that_was_behind_scores_nothing_twice(photos, tmp_path, monkeypatch):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 2 * 86400)
    score_folder(photos, spec, output=out)
    assert score_folder(photos, spec, output=out).reused == 12
    assert asked() == 12


@pytest.mark.parametrize("change", ["same size and date", "replaced"])
def test_a_file_is_known_by_more_than_its_date(photos, tmp_path, change):
    spec, asked = counting(tmp_path)
    out = tmp_path / "scores.parquet"
    score_folder(photos, spec, output=out)
    file = photos / "00.png"
    date, data = file.stat().st_mtime_ns, file.read_bytes()
    if change == "replaced":
        file.unlink()
    time.sleep(0.02)  # a file system's clock ticks every few ms
    file.write_bytes(data)
    os.utime(file, ns=(date, date))
    score_folder(photos, spec, output=out)
    assert asked() == 13


def test_an_older_table_is_trusted_where_its_files_are_older(photos, tmp_path):
    spec, asked = counting(tmp_path)
    out, meta = tmp_path / "scores.parquet", tmp_path / "scores.parquet.meta.json"
    score_folder(photos, spec, output=out)
    written = json.loads(meta.read_text())
    assert len(written.pop("files")) == 12
    meta.write_text(json.dumps(written))
    pil(picture(99, 30, 30)).save(photos / "00.png")
    assert score_folder(photos, spec, output=out).reused == 11
    assert asked() == 13
    assert len(json.loads(meta.read_text())["files"]) == 12, "the new table knows its files"


def test_a_dead_service_stops_the_run_and_keeps_what_was_scored(photos, tmp_path):
    code = (
        "from pathlib import Path\n"
        "from rewardkit import RewardUnavailable\n"
        f"asked, alive = Path({str(tmp_path / 'asked')!r}), Path({str(tmp_path / 'alive')!r})\n"
        "def judge(batch):\n"
        "    if asked.exists() and not alive.exists():\n"
        "        raise RewardUnavailable('no answer from the server')\n"
        "    with asked.open('a') as log:\n"
        "        log.write('x' * len(batch))\n"
        "    return [1.0] * len(batch)\n"
    )
    (tmp_path / "my.py").write_text(code)
    spec, out = f"{tmp_path / 'my.py'}:judge", tmp_path / "scores.parquet"
    with pytest.raises(RewardUnavailable, match="cannot go on: no answer from the server"):
        score_folder(photos, spec, output=out, batch_size=5)
    assert not out.exists()
    (tmp_path / "alive").touch()
    report = score_folder(photos, spec, output=out, batch_size=5)
    assert (report.reused, report.failed) == (5, 0)
    assert (tmp_path / "asked").read_text() == "x" * 12


def test_an_error_in_a_function_names_its_file_and_line(photos, tmp_path):
    (tmp_path / "my.py").write_text(
        "import json\ndef parse(text):\n    return json.loads(text)\n"
        "def boom(batch):\n    return parse('no json')\n"
        "def leave(batch):\n    raise SystemExit(0)\n"
    )
    report = score_folder(photos / "00.png", f"{tmp_path / 'my.py'}:boom+contrast")
    assert f"({tmp_path / 'my.py'}, line 3)" in report.rows[0].error
    assert report.rows[0].scores["contrast"] is not None
    report = score_folder(photos / "00.png", f"{tmp_path / 'my.py'}:leave+contrast")
    assert "SystemExit: 0" in report.rows[0].error and "line 7" in report.rows[0].error
    assert report.rows[0].scores["contrast"] is not None


def test_what_a_function_prints_is_not_among_the_scores(photos, tmp_path, capsys):
    (tmp_path / "my.py").write_text(
        "print('loaded')\ndef chatty(batch):\n    print('scoring')\n    return [1.0] * len(batch)\n"
    )
    score_folder(photos, f"{tmp_path / 'my.py'}:chatty")
    shown = capsys.readouterr()
    assert shown.out == "" and "loaded\n" in shown.err and "scoring\n" in shown.err


def test_a_report_is_short_to_read_and_a_table(photos):
    (photos / "bad.png").write_bytes(b"")
    report = score_folder(photos, "2*contrast")
    assert len(report) == 13
    assert repr(report).startswith("<Report of 13 rows, 1 failed: contrast mean ")
    assert len(repr(report)) < 80
    frame = report.table().to_pandas()
    assert list(frame.columns) == ["id", "path", "prompt", "contrast", "total", "error"]
    assert frame["contrast"].isna().sum() == 1
