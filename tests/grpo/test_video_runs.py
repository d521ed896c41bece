"""A run of clips is a run: it samples, scores, evaluates, shows, saves, and resumes bit for bit."""

import json

import numpy as np
import pytest
import tiny_runs
import tiny_videos
from PIL import Image

from grpo.train import train
from grpo.trainer import Trainer
from rewardkit.errors import InputError


class Killed(BaseException):
    """Ends a process's work where it is raised, as SIGKILL would."""


def config(name, home):
    """Two steps, from first frames where the model takes them."""
    rng = np.random.default_rng(0)
    rows = []
    for place, prompt in enumerate(tiny_runs.PROMPTS):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(home / f"{place}.png")
        rows.append(json.dumps({"prompt": prompt, "image": f"{place}.png"}))
    (home / "prompts.jsonl").write_text("\n".join(rows), "utf-8")
    prompts = str(home / "prompts.jsonl")
    return tiny_runs.config(
        tiny_videos.saved(name, home),
        top={"steps": 2, "reward": "motion-smoothness", "prompts": prompts},
        sampler={"steps": 2, "group_size": 2},
        evaluation={"prompts": prompts, "samples": 2, "every": 1, "steps": 1},
        checkpoint={"every": 1},
    )


@pytest.mark.parametrize("name", ["wan", "skyreels"])
def test_a_run_of_clips_resumes_bit_for_bit(name, tmp_path, monkeypatch):
    asked = config(name, tmp_path)
    whole = train(asked, out=tmp_path / "whole", device="cpu")
    real = Trainer.update

    def update(self, index, *given):
        if index == 1:
            raise Killed
        return real(self, index, *given)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "update", update)
        train(asked, out=tmp_path / "killed", device="cpu")
    resumed = train(asked, out=tmp_path / "killed", resume=True, device="cpu")
    assert tiny_runs.lines(resumed) == tiny_runs.lines(whole)
    assert tiny_runs.same(tiny_runs.outcome(resumed), tiny_runs.outcome(whole))
    lines = tiny_runs.lines(whole)
    assert any(line.get("grad_norm", 0) > 0 for line in lines)


@pytest.mark.parametrize("known", [True, False])
def test_a_first_frame_of_another_shape_ends_a_run_before_it_samples(tmp_path, known):
    asked = config("skyreels", tmp_path)
    if not known:  # only the pipeline knows the size of its clips, once it is loaded
        (tmp_path / "skyreels" / "rewardkit.json").unlink(missing_ok=True)
    Image.new("RGB", (16, 32)).save(tmp_path / "1.png")
    with pytest.raises(InputError, match=r"line 2: the first frame .* is 16 x 32 pixels"):
        train(asked, out=tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "config.json").exists()
