"""A protocol comes from the nearest place that says one, and is kept or refused."""

import json

import pytest
import torch
from tiny_pipelines import PROTOCOLS, SHORT, pictures

from rewardkit.errors import InputError, UsageError
from rewardkit.generators.aliases import ALIASES, Alias
from rewardkit.generators.arguments import call_arguments
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request


@pytest.mark.parametrize(
    ("name", "steps", "guidance", "length", "side"),
    # The defaults of each class's __call__; the side is 8 latents x 4, and FLUX's 128 x 4.
    [
        ("sd", 50, 7.5, None, 32),
        ("sdxl", 50, 5.0, None, 32),
        ("sd3", 28, 7.0, 256, 32),
        ("flux", 28, 3.5, 512, 512),
        ("z-image", 50, 5.0, 512, 1024),
    ],
)
def test_a_folder_without_a_protocol_has_its_familys(loaded, name, steps, guidance, length, side):
    assert loaded[name].protocol == Protocol(
        steps=steps, guidance=guidance, height=side, width=side, max_sequence_length=length
    )


def test_a_family_with_true_guidance_has_its_negative_prompt(loaded):
    assert loaded["qwen-image"].protocol == Protocol(
        steps=50,
        guidance=None,
        true_guidance=4.0,
        negative_prompt=" ",
        height=512,
        width=512,
        max_sequence_length=512,
    )


def test_a_folders_own_protocol_is_its_default(folder):
    (folder / "rewardkit.json").write_text(
        json.dumps({"reward": "ours", "protocol": SHORT.model_dump()})
    )
    pipeline = load(folder, device="cpu")
    assert pipeline.protocol == SHORT
    (picture,) = generate(pipeline, [Request("a red ring", 0)])
    assert torch.equal(picture, pictures(pipeline)[0])


def test_an_alias_in_the_package_brings_the_protocol_of_its_folder(folder, monkeypatch):
    (folder / "rewardkit.json").write_text(json.dumps({"protocol": SHORT.model_dump()}))
    alias = Alias(
        name="ours", pipeline="StableDiffusionPipeline", folder=str(folder), licence="Apache-2.0"
    )
    monkeypatch.setitem(ALIASES, "ours", alias)
    pipeline = load("ours", device="cpu")
    assert (pipeline.alias, pipeline.source) == ("ours", f"package:rewardkit.shapes/{folder}")
    assert (pipeline.revision, pipeline.protocol) == (None, SHORT)


def test_what_a_loras_folder_says_of_sampling_goes_first(folder, lora):
    for place, steps in ((folder, 5), (lora, 3)):
        card = {"protocol": SHORT.model_copy(update={"steps": steps}).model_dump()}
        (place / "rewardkit.json").write_text(json.dumps(card))
    assert load(folder, device="cpu").protocol.steps == 5
    assert load(folder, device="cpu", tuned=lora).protocol.steps == 3


def test_documents_of_protocols_are_written_and_read_as_before_later_values_existed():
    document = {
        "steps": 4,
        "guidance": 0.0,
        "height": 64,
        "width": 32,
        "max_sequence_length": None,
    }
    protocol = Protocol.model_validate(document)
    assert list(protocol.model_dump().items()) == list(document.items())
    assert json.loads(protocol.model_dump_json()) == document
    assert protocol.model_dump(include={"steps"}) == {"steps": 4}
    later = protocol.changed({"true_guidance": 4.0, "negative_prompt": " ", "frames": 9, "fps": 16})
    assert Protocol.model_validate_json(later.model_dump_json()) == later
    assert later.changed({"frames": None}).model_dump()["true_guidance"] == 4.0
    assert later.changed({"true_guidance": 1.0}).negative_prompt is None


def test_a_pipeline_is_called_as_before_by_a_protocol_without_true_guidance(loaded):
    passed = call_arguments(loaded["flux"].diffusers, PROTOCOLS["flux"])
    assert passed["true_cfg_scale"] == 1.0 and "negative_prompt" not in passed
    assert "true_cfg_scale" not in call_arguments(loaded["sd"].diffusers, SHORT)


@pytest.mark.parametrize(
    ("card", "what"),
    [
        ("{", "cannot be read as JSON"),
        (
            '{"protocol": {"steps": 0, "guidance": 1, "height": 32, "width": 32}}',
            "protocol.steps: .*; 0 was given",
        ),
        ('{"protocol": {"steps": 1}}', "protocol.guidance: Field required"),
        ('{"protocol": null}', "Input should be a valid"),
    ],
)
def test_a_protocol_that_is_none_is_refused(folder, card, what):
    (folder / "rewardkit.json").write_text(card)
    with pytest.raises(InputError, match=what):
        load(folder, device="cpu")


@pytest.mark.parametrize(
    ("name", "changes", "what"),
    [
        ("sd", {"max_sequence_length": 16}, "does not use max_sequence_length"),
        ("sd3", {"max_sequence_length": None}, "lacks max_sequence_length.*256"),
        ("sd3", {"max_sequence_length": 513}, "at most 512; 513 was given"),
        ("sd3", {"guidance": None}, "lacks guidance.*7"),
        ("sd", {"frames": 5}, "does not use num_frames, but the protocol gives frames 5"),
        ("sd", {"fps": 8.0}, "does not use frame_rate"),
        ("sd", {"true_guidance": 4.0}, "does not use true_cfg_scale"),
        ("qwen-image", {"guidance": 4.0}, "does not use guidance_scale"),
        ("qwen-image", {"negative_prompt": None}, "where there is a negative prompt"),
        ("z-image", {"guidance": 0.0, "negative_prompt": "blur"}, "where guidance is above 0"),
        ("flux", {"true_guidance": 4.0}, "uses true_guidance where there is a negative prompt"),
        ("flux", {"negative_prompt": "blur"}, "where true_guidance is above 1; None"),
        ("sd", {"guidance": 1.0, "negative_prompt": "blur"}, "where guidance is above 1; 1"),
        ("sd", {"height": 36}, "multiples of 8; height 36 and width 32"),
        ("sd3", {"width": 36}, "multiples of 8"),
        ("flux", {"height": 36}, "multiples of 8"),
    ],
)
def test_a_protocol_the_pipeline_cannot_keep_is_refused_at_the_call(loaded, name, changes, what):
    protocol = PROTOCOLS[name].model_copy(update=changes)
    with pytest.raises(UsageError, match=what):
        generate(loaded[name], [Request("a", 0)], protocol=protocol)
