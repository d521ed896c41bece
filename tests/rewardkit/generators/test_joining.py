"""A name may stand for one repository's pipeline with a part of another repository."""

import json
import shutil

import huggingface_hub
import pytest
import tiny_videos
import torch

from grpo import preview
from rewardkit.errors import WeightsError
from rewardkit.generators import pipelines
from rewardkit.generators.aliases import ALIASES, Alias
from rewardkit.generators.pipelines import load, place_of

BASE, PART = "a" * 40, "b" * 40


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_videos.saved("skyreels", tmp_path_factory.mktemp("whole"))


@pytest.fixture
def hub(whole, tmp_path, monkeypatch):
    """Snapshots as the hub's cache holds them: HunyuanVideo, and a transformer alone."""
    base, part = tmp_path / "base" / BASE, tmp_path / "part" / PART
    shutil.copytree(whole, base, ignore=lambda folder, names: {"transformer"} & set(names))
    shutil.copytree(whole / "transformer", part)
    index = json.loads((base / "model_index.json").read_text())
    index["_class_name"] = "HunyuanVideoPipeline"
    (base / "model_index.json").write_text(json.dumps(index))
    asked = {}

    def download(repo, revision, without):
        asked[repo] = revision, sorted(without)
        return base

    monkeypatch.setattr(pipelines, "download", download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **options: str(part))
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "cache"))
    return asked


def test_skyreels_is_hunyuan_video_with_another_transformer(whole, hub):
    pipeline = load("skyreels-i2v", device="cpu", dtype="float32")
    alias = ALIASES["skyreels-i2v"]
    assert hub == {alias.repo: (alias.revision, ["transformer"])}
    assert type(pipeline.diffusers).__name__ == alias.pipeline
    expected = load(whole, device="cpu").diffusers
    for part in ("transformer", "vae", "text_encoder"):
        states = (getattr(pipe, part).state_dict() for pipe in (pipeline.diffusers, expected))
        assert all(map(torch.equal, *(state.values() for state in states)))
    assert pipeline.revision == BASE and pipeline.protocol == alias.protocol
    made = pipeline.provenance()
    assert made["parts"] == {"transformer": f"Skywork/SkyReels-V1-Hunyuan-I2V@{PART}"}
    assert made["model"]["source"].endswith(", transformer of Skywork/SkyReels-V1-Hunyuan-I2V")
    assert load("skyreels-i2v", device="cpu").folder == pipeline.folder, "joined once"


def test_a_part_that_cannot_be_downloaded_is_named_with_what_to_do(hub, monkeypatch):
    def fails(repo, **options):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(WeightsError, match="which holds the transformer, is not on this machine"):
        load("skyreels-i2v", device="cpu")


def test_the_repository_of_the_other_parts_is_the_model_that_it_holds():
    alias, _ = place_of("hunyuanvideo-community/HunyuanVideo")
    assert alias is not None and alias.name == "hunyuanvideo"


def test_the_part_that_is_replaced_is_not_what_a_dry_run_counts(whole, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repo, name, revision: str(whole / name),
    )
    assert preview.look("hunyuanvideo").folder == whole
    assert preview.look("skyreels-i2v").folder is None


def test_a_part_needs_a_repository_to_be_beside():
    with pytest.raises(ValueError, match="parts stand beside a repository"):
        Alias(name="x", pipeline="X", folder="x", licence="MIT", parts={"vae": "a/b"})
