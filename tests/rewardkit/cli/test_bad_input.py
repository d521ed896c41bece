"""Every odd file and prompt is a score or an error row, and costs no other file anything."""

import json
import subprocess
import sys

import badfiles
import pytest
import torch
from pictures import picture, pil

from rewardkit.engine.folder import score_folder
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.records.rows import read_rows, storable

# A reward for either kind that takes whatever could be decoded.
MEAN = """
def mean(batch):
    return [float(getattr(medium, "frames", medium).float().mean()) for medium in batch.media]
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "my.py").write_text(MEAN)
    return folder, badfiles.make(folder / "files")


def test_the_corpus_has_thirty_kinds_and_more(corpus):
    assert len(corpus[1]) >= 30


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize(
    "suffix", ["parquet", *(pytest.param(s, marks=pytest.mark.slow) for s in ("csv", "jsonl"))]
)
def test_a_folder_of_odd_files_is_scored_as_far_as_it_can_be(corpus, kind, suffix):
    folder, files = corpus
    mine = {name: file for name, file in files.items() if file.kind == kind}
    out = folder / f"{kind}.{suffix}"
    command = ["score", "files", "-r", "./my.py:mean", "--input", kind, "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "rewardkit.cli", *command], cwd=folder, capture_output=True
    )
    rows = {row.path: row for row in read_rows(out).rows}
    paths = {storable(f"files/{name}"): file for name, file in mine.items()}
    assert rows.keys() == paths.keys()
    for path, file in paths.items():
        row = rows[path]
        assert (row.error is None) == (file.expect == "score"), f"{file.why}: {row.error}"
        assert (row.scores["./my.py:mean"] is None) == (row.error is not None)
    failed = sum(file.expect == "error" for file in mine.values())
    assert done.returncode == 1 and failed > 3
    assert f"{failed} of {len(mine)} files".encode() in done.stderr
    assert b"Traceback" not in done.stderr


def test_odd_clips_reach_the_motion_rewards_as_scores_or_reasons(corpus):
    folder, files = corpus
    spec = "temporal-stability+motion-smoothness+dynamic-degree"
    report = score_folder(folder / "files", spec, kind="video")
    assert len(report.rows) == sum(file.kind == "video" for file in files.values())
    for row in report.rows:
        assert (None in row.scores.values()) == (row.error is not None)


PROMPTS = {
    "fine": "a cat",
    "long": "word " * 10_000,
    "emoji": "🐈‍⬛ on a 🛹",
    "nul": "a\0cat",
    "control": "\x1b[31m\u202e cat",
    "markup": "&lt;b&gt; <start_of_text> [bold]",
    "surrogate": "\ud83d cat",
    "empty": "",
    "blank": " \n\t",
    "absent": None,
}


def test_odd_prompts_are_scored_or_told(tmp_path, monkeypatch):
    real = Loader.__init__
    monkeypatch.setattr(Loader, "__init__", lambda self, *a, **k: real(self, *a, **k, tiny=True))
    monkeypatch.setattr("rewardkit.engine.items._made_by", lambda *_: {})
    lines = []
    for name, prompt in PROMPTS.items():
        pil(picture(1, 30, 40)).save(tmp_path / f"{name}.png")
        lines.append(json.dumps({"path": f"{name}.png", "prompt": prompt}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    out = tmp_path / "scores.parquet"
    report = score_folder(tmp_path / "manifest.jsonl", "clip.vit-b-32", output=out)
    failed = {row.id for row in report.rows if row.error is not None}
    assert failed == {"empty", "blank", "absent"}
    assert len({row.scores["clip.vit-b-32"] for row in report.rows}) >= 6
    assert read_rows(out).rows[3].prompt == "a\0cat"


# The cut prompt keeps its end-of-text token: more of the same words change nothing.
def test_a_prompt_is_cut_where_upstream_cuts_it():
    card = entry("clip.vit-b-32").card
    scorer = Scorer.load(RewardSpec((RewardTerm(card.name),)), Loader("cpu", tiny=True))
    media = [picture(1, 30, 40)] * 3
    got = scorer(media, ["word " * 76, "word " * 10_000, "word " * 10])[card.name]
    assert torch.equal(got[0], got[1]) and abs(got[0] - got[2]) > 1e-4
