"""A pipeline that takes a source picture gets the one of each request."""

import numpy as np
import pytest
import tiny_pipelines
import torch

from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.requests import Request
from rewardkit.media.images import to_pil

PROTOCOL = tiny_pipelines.PROTOCOLS["flux2-klein"]


@pytest.fixture(scope="module")
def klein(tmp_path_factory):
    folder = tiny_pipelines.saved("flux2-klein", tmp_path_factory.mktemp("klein"))
    return load(folder, device="cpu")


def theirs(pipeline, request, **options):
    return pipeline.diffusers(
        prompt=request.prompt,
        generator=torch.Generator().manual_seed(request.seed),
        num_inference_steps=PROTOCOL.steps,
        guidance_scale=PROTOCOL.guidance,
        height=32,
        width=32,
        max_sequence_length=PROTOCOL.max_sequence_length,
        **options,
    ).images[0]


def test_without_and_with_a_source_the_picture_is_the_one_that_diffusers_makes(klein):
    rng = np.random.default_rng(0)
    sources = [torch.from_numpy(rng.integers(0, 256, (3, 64, 72), np.uint8)) for _ in range(2)]
    plain = Request("a red ring", 3)
    edits = [Request("a red ring", 3, {"source": source}) for source in sources]
    made = list(generate(klein, [plain, *edits], protocol=PROTOCOL))
    expected = [theirs(klein, plain)]
    expected += [theirs(klein, edit, image=to_pil(edit.references["source"])) for edit in edits]
    for picture, other in zip(made, expected, strict=True):
        assert np.array_equal(picture.permute(1, 2, 0), np.asarray(other))
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[1], made[2])
