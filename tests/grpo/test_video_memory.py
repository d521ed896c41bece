"""What makes clips fit a device: recomputed activations, chunks of frames, parts that wait."""

from contextlib import nullcontext

import numpy as np
import pytest
import tiny_policies
import tiny_videos
import torch
from PIL import Image
from tiny_policies import config

from grpo import evaluation, memory, policies
from grpo.policies import policy as policy_module
from grpo.testing import randomise
from rewardkit.generators.decoding import decode
from rewardkit.generators.pipelines import load
from rewardkit.generators.placement import visiting
from rewardkit.generators.requests import Request
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PromptLine

META = torch.device("meta")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    return {name: tiny_videos.saved(name, home) for name in tiny_videos.ALL}


@pytest.fixture
def line(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "first.png")
    return PromptLine("here", "a red ring", {"image": "first.png"}, tmp_path)


@pytest.mark.parametrize("name", tiny_videos.ALL)
def test_gradient_checkpointing_of_clips_changes_memory_alone(folders, line, name):
    def gradients(checkpointing):
        run = config(name, policy={"gradient_checkpointing": checkpointing})
        made = policies.of(load(folders[name], device="cpu"), run)
        randomise(made)
        condition = made.encode([line] * 2)
        x = made.noise([torch.Generator().manual_seed(i) for i in range(2)])
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(1) or t, lambda t: t):
            output = made.predict(x, torch.tensor([900.0, 300.0]), condition)
        output.square().sum().backward()
        return {k: p.grad for k, p in made.parameters().items()}, len(saved)

    (plain, kept), (again, fewer) = gradients(False), gradients(True)
    assert fewer < kept and any(grad is not None and grad.any() for grad in plain.values())
    for key, grad in plain.items():
        assert (again[key] is None) if grad is None else torch.equal(again[key], grad), key


@pytest.mark.parametrize(("name", "most"), [("hunyuan-video", 5), ("wan", 1)])
def test_a_long_clip_is_decoded_in_chunks_of_its_frames(folders, name, most):
    pipe = load(folders[name], device="cpu").diffusers
    seen = []
    first = pipe.vae.decoder.conv_in
    first.register_forward_hook(lambda _, inputs, put: seen.append(inputs[0].shape[2]))
    frames = 33
    latents = torch.randn(2, pipe.transformer.config.out_channels, 9, 2, 2)
    protocol = tiny_policies.PROTOCOLS[name].changed({"frames": frames})
    clips = list(decode(pipe, latents, protocol))
    assert [len(clip.frames) for clip in clips] == [frames, frames]
    # Frames beside a chunk that the network pads with, or remembers, are not among these.
    assert len(seen) > 2 and max(seen) <= most


def places(made):
    pipe = made.pipeline.diffusers
    return {
        name: next(part.parameters()).device.type
        for name, part in pipe.components.items()
        if isinstance(part, torch.nn.Module)
    }


@pytest.mark.parametrize("name", ["skyreels", "wan-i2v"])
def test_what_is_offloaded_visits_the_device_while_it_is_needed(folders, line, monkeypatch, name):
    run = config(name, policy={"offload": True})
    made = policies.of(load(folders[name], device="cpu"), run, META)
    waiting = {part: "cpu" for part in places(made)} | {"transformer": "meta"}
    needed = {part: "cpu" if "text" in part else "meta" for part in waiting}
    assert places(made) == waiting != needed
    seen = []

    def look(*given, **named):
        seen.append(places(made))
        return []

    monkeypatch.setattr(policy_module, "decode", look)
    made.decode(torch.zeros(1, *made.shape, device=META))
    monkeypatch.setattr(evaluation.pipelines, "generate", look)
    request = Request("a", 0, {"first_frame": read_image(line.folder / "first.png")})
    monkeypatch.setattr(type(made), "remember", lambda *given: None)
    monkeypatch.setattr(type(made), "autocast", lambda made: nullcontext())  # none on meta
    evaluation.generate(made, [request], made.protocol, 1)
    monkeypatch.setattr(type(made), "embed", lambda *given: None)

    class Looked(Exception):
        pass

    def first_frame(*given):
        look()
        raise Looked

    monkeypatch.setattr(type(made), "_first_frame", first_frame)
    with pytest.raises(Looked):
        made.encode([line])
    assert seen == [needed] * 3 and places(made) == waiting
    kept = policies.of(load(folders[name], device="cpu"), config(name), META)
    assert places(kept) == needed


def test_a_visit_changes_no_number(folders):
    pipe = load(folders["wan"], device="cpu").diffusers
    before = {name: tensor.clone() for name, tensor in pipe.vae.state_dict().items()}
    with visiting([pipe.vae], META):
        assert all(tensor.is_meta for tensor in pipe.vae.state_dict().values())
    after = pipe.vae.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hunyuan-video", "skyreels", "wan-i2v"])
def test_memory_is_estimated_with_first_frames_and_where_parts_wait(folders, line, name):
    def estimated(offload):
        run = config(name, policy={"offload": offload})
        run = run.model_copy(update={"reward": "motion-smoothness"})
        return memory.of_folder(run, name, folders[name], "cpu", line)

    there, waiting = estimated(False), estimated(True)
    assert not there.unknown and min(there.phases.values()) > 0
    pipe = load(folders[name], device="cpu").diffusers
    size = {"VAE": 4 * sum(p.numel() for p in pipe.vae.parameters())}
    assert size["VAE"] <= there.held["VAE"] < 1.1 * size["VAE"]
    moved = {"VAE", "image encoder"} & there.held.keys()
    assert ("image encoder" in moved) == (name == "wan-i2v")
    for part in moved:
        assert waiting.host[part] == there.held[part] and part not in waiting.held
