"""A checkpoint of the real size, in upstream's format, through the command line."""

import subprocess
import sys

import open_clip
import pytest
import torch
from pictures import picture, pil

pytestmark = pytest.mark.slow


def score(photos, checkpoint):
    command = ["score", photos, "-r", "hps.v2.1", "--prompt", "a cat", "--json"]
    command += ["--weights", f"hps.v2.1={checkpoint}"]
    return subprocess.run(
        [sys.executable, "-m", "rewardkit.cli", *command], capture_output=True, text=True
    )


def test_a_full_size_hps_checkpoint_is_scored_and_a_truncated_one_refused(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed, shape in enumerate([(224, 100), (300, 400)]):
        pil(picture(seed, *shape)).save(photos / f"{seed}.png")
    torch.manual_seed(0)
    model = open_clip.CLIP(**open_clip.get_model_config("ViT-H-14"))
    checkpoint = tmp_path / "HPS_v2.1_compressed.pt"
    state = {key: value.half() for key, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, checkpoint)
    del model, state

    done = score(photos, checkpoint)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2

    with checkpoint.open("rb+") as file:
        file.truncate(checkpoint.stat().st_size // 2)
    done = score(photos, checkpoint)
    assert done.returncode == 1
    assert "cannot be read as weights" in done.stderr and "Traceback" not in done.stderr
    checkpoint.unlink()
