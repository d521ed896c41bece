"""Every tensor of a transformers CLIPModel finds its place in open_clip's CLIP, or is refused."""

import open_clip
import pytest
import torch
from golden.clip import tiny, tiny_transformers
from golden.prompted import fill
from pictures import PROMPTS
from transformers import CLIPConfig, CLIPModel

from rewardkit.errors import WeightsError
from rewardkit.weights.nets.clip_layout import from_transformers


def theirs():
    return CLIPModel(CLIPConfig(**tiny_transformers(48, "quick_gelu"))).eval()


def test_both_libraries_embed_alike_after_renaming():
    model, ours = theirs(), open_clip.CLIP(**tiny(48), quick_gelu=True).eval()
    state = fill(model.state_dict())
    model.load_state_dict(state)
    ours.load_state_dict(from_transformers(state), strict=True)
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    ids = open_clip.get_tokenizer("ViT-B-32")(PROMPTS)
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels)
        image, text, scale = ours(pixels, ids)
    torch.testing.assert_close(image, expected.image_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(text, expected.text_embeds, rtol=0, atol=1e-5)
    assert float(scale) == pytest.approx(float(state["logit_scale"].exp()))


def test_position_numbers_of_old_versions_are_dropped():
    state = theirs().state_dict()
    old = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    assert from_transformers(state | old).keys() == from_transformers(state).keys()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"text_model.embeddings.position_ids": torch.arange(77).flip(0)}, "position_ids"),
        ({"head.weight": torch.zeros(2)}, r"head\.weight"),
        ({"audio_model.encoder.layers.0.mlp.fc1.weight": torch.zeros(2)}, "audio_model"),
        ({"text_model.encoder.layers.0.mlp.fc3.weight": torch.zeros(2)}, "fc3"),
        ({"vision_model.encoder.layers.1.self_attn.k_proj.weight": None}, "v_proj"),
    ],
)
def test_what_has_no_place_is_refused_by_name(change, named):
    state = {k: v for k, v in (theirs().state_dict() | change).items() if v is not None}
    with pytest.raises(WeightsError, match=rf"do not belong there \(.*{named}"):
        from_transformers(state)


def test_open_clips_own_names_are_refused():
    with pytest.raises(WeightsError, match="not those of a transformers CLIPModel"):
        from_transformers(open_clip.CLIP(**tiny(48)).state_dict())


def test_the_state_given_stays_as_it_was():
    state = theirs().state_dict()
    before = dict(state)
    from_transformers(state)
    assert state.keys() == before.keys()
