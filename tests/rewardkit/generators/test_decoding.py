"""The same latents are the same pixels, whoever decodes them, in whatever batch."""

import weakref

import pytest
import tiny_pipelines
import tiny_policies
import torch
from tiny_pipelines import PROTOCOLS, requests

from grpo import evaluation
from rewardkit.errors import RewardKitError
from rewardkit.generators import pipelines
from rewardkit.generators.decoding import decode
from rewardkit.generators.pipelines import generate, load

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
PROMPTS, SEEDS = ["a red ring", "two blue boxes", "a"], [1, 2, 3]


@pytest.fixture
def latents(monkeypatch):
    """The latents that `generate` decodes, as they come."""
    seen = []
    monkeypatch.setattr(
        pipelines, "decode", lambda pipe, x, protocol: seen.append(x) or decode(pipe, x, protocol)
    )
    return seen


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", tiny_pipelines.ALL)
def test_networks_in_low_precision_are_decoded_in_float32(folders, loaded, latents, name, dtype):
    pipeline, protocol = load(folders[name], device="cpu", dtype=dtype), PROTOCOLS[name]
    made = list(generate(pipeline, requests(PROMPTS, SEEDS), protocol=protocol, batch_size=3))
    # Z-Image keeps its latents in float32, whatever its network is in.
    assert latents[0].dtype == (torch.float32 if name == "z-image" else getattr(torch, dtype))
    exact = loaded[name].diffusers  # all of it in float32
    assert torch.equal(torch.stack(made), torch.stack([*decode(exact, latents[0], protocol)]))
    alone = [next(decode(exact, latents[0][i : i + 1], protocol)) for i in range(3)]
    assert torch.equal(torch.stack(made), torch.stack(alone))


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_training_and_evaluation_decode_alike(folders, latents, name, dtype, parameters):
    settings = {"dtype": dtype, "parameters": parameters}
    made = tiny_policies.policy(folders[name], policy=settings, sampler={"guidance": 3.0})
    seen = []
    vae = made.pipeline.diffusers.vae
    vae.decoder.conv_out.register_forward_hook(lambda _, inputs, put: seen.append(put.dtype))
    protocol = made.protocol.model_copy(update={"steps": 2})
    pictures = torch.stack(evaluation.generate(made, requests(PROMPTS, SEEDS), protocol, 2))
    assert seen == [torch.float32] * 3
    with made.autocast():
        assert torch.equal(pictures, torch.stack(made.decode(torch.cat(latents))))
    assert torch.equal(pictures, torch.stack(made.decode(torch.cat(latents))))


def test_sdxl_with_statistics_of_channels_is_what_diffusers_makes(folders):
    pipeline = load(folders["sdxl"], device="cpu")
    statistics = {"latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.5, 1.0, 2.0]}
    pipe, protocol = pipeline.diffusers, PROTOCOLS["sdxl"]
    pipe.vae.register_to_config(**statistics)
    (made,) = generate(pipeline, requests("a", [0]), protocol=protocol)
    theirs = pipe(
        "a",
        generator=torch.Generator().manual_seed(0),
        num_inference_steps=protocol.steps,
        guidance_scale=protocol.guidance,
        height=32,
        width=32,
        output_type="pt",
    ).images[0]
    assert torch.equal(made, theirs.mul(255).round().to(torch.uint8))


@pytest.fixture
def small(folders):
    """A pipeline whose VAE fits its pictures only in tiles, if at all; and what it was asked."""
    pipe = load(folders["sd"], device="cpu").diffusers
    real, sizes, failed = pipe.vae.decode, [], []

    def limited(fits):
        def decode(x, return_dict):
            sizes.append(pipe.vae.use_tiling)
            # What the failed frame held must be free when it is tried again.
            assert all(reference() is None for reference in failed)
            if not fits(pipe.vae.use_tiling):
                activation = torch.zeros(8)
                failed.append(weakref.ref(activation))
                raise torch.OutOfMemoryError("CUDA out of memory")
            return real(x, return_dict=return_dict)

        pipe.vae.decode = decode
        return pipe

    return limited, sizes


def test_without_memory_for_a_picture_it_is_decoded_in_tiles_which_is_said_once(small, caplog):
    limited, sizes = small
    pipe = limited(lambda tiled: tiled)
    made = list(decode(pipe, torch.zeros(3, 4, 8, 8), PROTOCOLS["sd"]))
    assert sizes == [False, True, True, True]
    assert len(made) == 3 and caplog.text.count("decoded in overlapping tiles") == 1


def test_without_memory_for_tiles_it_is_said_what_can_be_done(small):
    limited, sizes = small
    pipe = limited(lambda tiled: False)
    with pytest.raises(RewardKitError, match=r"decoding one sample\. Choose a smaller height"):
        list(decode(pipe, torch.zeros(1, 4, 8, 8), PROTOCOLS["sd"]))
    assert sizes == [False, True]
