"""A picture is its prompt, its seed and its protocol; a name means what it says."""

from pathlib import Path

import numpy as np
import pytest
import tiny_pipelines
import torch
from tiny_pipelines import PADDED, PROTOCOLS, SHORT, levels, pictures, requests

from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.requests import Request

# diffusers' Euler scheduler, which is SDXL's, is not quite ready for NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PROMPTS = ["a red ring", "two blue boxes", "a"]
SEEDS = [1, 2, 2**40]


@pytest.mark.parametrize("name", tiny_pipelines.ALL)
def test_a_batch_makes_the_same_pictures_as_its_samples_one_by_one(loaded, name):
    together = pictures(loaded[name], PROMPTS, SEEDS, protocol=PROTOCOLS[name], batch_size=3)
    alone = pictures(loaded[name], PROMPTS, SEEDS, protocol=PROTOCOLS[name], batch_size=1)
    assert together.shape == (3, 3, 32, 32) and together.dtype == torch.uint8
    largest, mean = levels(together, alone)
    # Rounding may tip a value to the next level; 1e-4 of the range is 0.0255 levels.
    assert largest <= 1 and mean < 0.0255
    assert levels(together[0], together[1])[1] > 3


TRUE = {"true_cfg_scale": 4.0, "negative_prompt": " "}


@pytest.mark.parametrize(
    ("name", "changes", "arguments"),
    [
        *(
            (name, {}, {"guidance_scale": 4.0} if PROTOCOLS[name].true_guidance is None else TRUE)
            for name in tiny_pipelines.ALL
        ),
        ("flux", {"true_guidance": 4.0, "negative_prompt": " "}, {"guidance_scale": 4.0, **TRUE}),
        ("sd", {"negative_prompt": "blur"}, {"guidance_scale": 4.0, "negative_prompt": "blur"}),
    ],
)
def test_a_picture_is_the_png_that_diffusers_itself_makes(loaded, name, changes, arguments):
    protocol = PROTOCOLS[name].changed(changes)
    length = protocol.max_sequence_length
    upstream = (
        loaded[name]
        .diffusers(
            prompt=PROMPTS[0],
            generator=torch.Generator().manual_seed(SEEDS[0]),
            num_inference_steps=3,
            height=32,
            width=32,
            **arguments,
            **({"max_sequence_length": length} if length else {}),
        )
        .images[0]
    )
    (picture,) = generate(loaded[name], requests(PROMPTS[:1], SEEDS[:1]), protocol=protocol)
    assert np.array_equal(picture.permute(1, 2, 0), np.asarray(upstream))


def test_seed_prompt_steps_and_guidance_each_change_the_picture(loaded):
    def make(prompt="a red ring", seed=0, **changes):
        protocol = SHORT.model_copy(update=changes)
        return pictures(loaded["sd"], prompt, [seed], protocol=protocol)

    assert torch.equal(make(), make())
    for other in (make(seed=1), make("a blue ring"), make(steps=4), make(guidance=5.0)):
        assert levels(make(), other)[0] > 2
    assert make(height=24, width=40).shape == (1, 3, 24, 40)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_the_length_the_text_is_padded_to_changes_the_picture(loaded, name):
    longer = PADDED.model_copy(update={"max_sequence_length": 77})
    one, other = (
        pictures(loaded[name], PROMPTS, SEEDS, protocol=protocol) for protocol in (PADDED, longer)
    )
    assert levels(one, other)[0] > 2


def test_pictures_stream_batch_by_batch(loaded, monkeypatch):
    network = type(loaded["sd"].diffusers)
    encode, encoded = network.encode_prompt, []

    def watched(self, prompt, *args, **options):
        encoded.append(prompt)
        return encode(self, prompt, *args, **options)

    monkeypatch.setattr(network, "encode_prompt", watched)
    stream = generate(loaded["sd"], requests("a", range(5)), protocol=SHORT, batch_size=2)
    assert encoded == [], "nothing is made before it is asked for"
    next(stream)
    assert encoded == [["a", "a"]]
    assert len(list(stream)) == 4
    assert encoded == [["a", "a"], ["a", "a"], ["a"]]


@pytest.mark.parametrize(
    ("seeds", "batch_size", "what"),
    [
        ([], 1, "nothing to generate"),
        ([0, -1], 1, "from 0 to"),
        ([2**63], 1, "from 0 to"),
        ([0], 0, "batch_size is at least 1"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_at_the_call(loaded, seeds, batch_size, what):
    with pytest.raises(UsageError, match=what):
        generate(loaded["sd"], requests("a", seeds), protocol=SHORT, batch_size=batch_size)


def test_a_picture_of_nan_is_an_error_that_names_prompt_and_seed(folder):
    pipeline = load(folder, device="cpu")
    # As an overflow in half precision would; weights that hold it are refused on loading.
    pipeline.diffusers.unet.conv_out.bias.data.fill_(float("nan"))
    stream = generate(pipeline, [Request("a ring", 7)], protocol=SHORT)
    with pytest.raises(WeightsError, match="'a ring', seed 7, is not a number"):
        next(stream)


def test_an_unknown_name_gets_a_near_miss():
    with pytest.raises(UsageError, match=r"unknown pipeline 'flux1-dev'.*'flux\.1-dev'"):
        load("flux1-dev")


def test_a_folder_wins_over_an_alias_only_where_it_is_written_as_a_path(
    folder, monkeypatch, server
):
    monkeypatch.chdir(folder.parent)
    repository = Path("CompVis/stable-diffusion-v1-4")  # sd1.4's on the hub
    repository.parent.mkdir()
    for path in (Path("sd1.4"), repository):
        path.symlink_to(folder)
    for source in (Path("sd1.4"), "./sd1.4", str(repository)):
        assert load(source, device="cpu").alias is None
    # The hub of this test is empty, so asking it for the alias's repository fails.
    for name in ("sd1.4", "SD1.4"):
        with pytest.raises(WeightsError, match="the pipeline CompVis/stable-diffusion-v1-4 is not"):
            load(name)


def test_wrong_device_dtype_and_revision_are_refused(folder):
    with pytest.raises(UsageError, match="device 'abacus'"):
        load(folder, device="abacus")
    with pytest.raises(UsageError, match="dtype is one of float32"):
        load(folder, dtype="int8")
    with pytest.raises(UsageError, match="a revision belongs to a repository"):
        load(folder, revision="main")
