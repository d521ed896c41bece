"""`clip.*` gives the numbers of open_clip and of transformers on the same random weights."""

import dataclasses
import json

import open_clip
import pytest
import torch
from open_clip.pretrained import get_pretrained_cfg
from open_clip.transform import PreprocessCfg, image_transform_v2
from pictures import PROMPTS, pil, twelve

from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader
from rewardkit.engine.openai_clip import VIT_B_32, VIT_L_14
from rewardkit.engine.preprocess import CenterCrop, Resize, apply, split
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm
from rewardkit.rewards.clip import DFN5B_H_14_378

TAGS = {
    "clip.vit-b-32": ("ViT-B-32", "openai", VIT_B_32),
    "clip.vit-l-14": ("ViT-L-14", "openai", VIT_L_14),
    "clip.dfn5b-h-14-378": ("ViT-H-14-378", "dfn5b", DFN5B_H_14_378),
}
ENCODERS = {name: encoder for name, (_, _, encoder) in TAGS.items()}
ATOL = 1e-5
MEDIA = twelve()
TEXTS = [PROMPTS[i % len(PROMPTS)] for i in range(len(MEDIA))]


def tiny(name):
    return Scorer.load(RewardSpec((RewardTerm(name),)), Loader("cpu", tiny=True)).rewards[name]


def upstream_transform(name):
    """open_clip's own evaluation transform for the published weights."""
    architecture, tag, _ = TAGS[name]
    size = open_clip.get_model_config(architecture)["vision_cfg"]["image_size"]
    known = {field.name for field in dataclasses.fields(PreprocessCfg)}
    config = {k: v for k, v in get_pretrained_cfg(architecture, tag).items() if k in known}
    return image_transform_v2(PreprocessCfg(**config | {"size": size}), is_train=False)


def pixels(steps, medium):
    per_picture, per_batch = split(steps)
    return apply(per_batch, apply(per_picture, medium)[None])[0]


@pytest.mark.parametrize("name", TAGS)
def test_the_architecture_has_the_activation_its_weights_were_trained_with(name):
    architecture, tag, encoder = TAGS[name]
    assert get_pretrained_cfg(architecture, tag)["quick_gelu"] is True
    assert open_clip.get_model_config(encoder.architecture)["quick_gelu"] is True


@pytest.mark.parametrize("name", TAGS)
def test_pixels_are_those_of_open_clips_transform(name):
    transform = upstream_transform(name)
    for medium in MEDIA:
        torch.testing.assert_close(
            pixels(ENCODERS[name].preprocess, medium), transform(pil(medium)), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("name", TAGS)
@pytest.mark.parametrize("change", [{"interpolation": "bilinear"}, {"backend": "tensor"}])
def test_another_resize_gives_other_pixels(name, change):
    steps = ENCODERS[name].preprocess
    changed = tuple(
        dataclasses.replace(step, **change) if isinstance(step, Resize) else step for step in steps
    )
    assert (pixels(changed, MEDIA[2]) - pixels(steps, MEDIA[2])).abs().max() > 1e-3


def test_another_crop_gives_other_pixels():
    steps = VIT_B_32.preprocess
    squashed = tuple(
        dataclasses.replace(step, side="squash") if isinstance(step, Resize) else step
        for step in steps
        if not isinstance(step, CenterCrop)
    )
    assert (pixels(squashed, MEDIA[2]) - pixels(steps, MEDIA[2])).abs().max() > 1e-1


@pytest.mark.parametrize("name", TAGS)
def test_scores_are_open_clips_on_the_same_weights(name):
    reward = tiny(name)
    model = reward.extractor._model
    tokens = open_clip.get_tokenizer(ENCODERS[name].architecture)(TEXTS)
    transform = upstream_transform(name)
    with torch.no_grad():
        images = torch.cat([model.encode_image(transform(pil(m))[None], True) for m in MEDIA])
        expected = (images * model.encode_text(tokens, True)).sum(-1)
    got = LoadedReward(reward)(MEDIA, TEXTS)
    torch.testing.assert_close(got, expected, rtol=0, atol=ATOL)
    assert got.max() - got.min() >= 100 * ATOL


@pytest.mark.parametrize("name", ["clip.vit-b-32", "clip.vit-l-14"])
def test_scores_are_those_of_transformers_with_its_pil_processor(name, tmp_path):
    from transformers import CLIPImageProcessorPil

    reward = tiny(name)
    model = transformers_twin(reward.extractor._model)
    tokenizer = transformers_tokenizer(tmp_path)
    processor = CLIPImageProcessorPil()
    expected = []
    for medium, text in zip(MEDIA, TEXTS, strict=True):
        ids = tokenizer(text, truncation=True, max_length=77, return_tensors="pt")["input_ids"]
        ours = open_clip.get_tokenizer(ENCODERS[name].architecture)([text])[0]
        assert ours[: ids.shape[1]].tolist() == ids[0].tolist()
        assert not ours[ids.shape[1] :].any()
        inputs = processor(pil(medium), return_tensors="pt")
        torch.testing.assert_close(
            pixels(ENCODERS[name].preprocess, medium),
            inputs["pixel_values"][0],
            rtol=0,
            atol=1e-6,
        )
        with torch.no_grad():
            output = model(input_ids=ids, pixel_values=inputs["pixel_values"])
        expected.append((output.image_embeds * output.text_embeds).sum())
    torch.testing.assert_close(
        LoadedReward(reward)(MEDIA, TEXTS), torch.stack(expected), rtol=0, atol=ATOL
    )


def transformers_twin(model):
    """A transformers CLIPModel holding the weights of an open_clip CLIP."""
    from transformers import CLIPConfig, CLIPModel

    visual, text = model.visual, model.transformer
    width = visual.conv1.weight.shape[0]
    dim = visual.proj.shape[1]
    shared = {"hidden_act": "quick_gelu", "projection_dim": dim, "num_hidden_layers": 2}
    config = CLIPConfig(
        text_config=shared
        | {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 2}
        | {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0},
        vision_config=shared
        | {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": 2}
        | {"image_size": visual.image_size[0], "patch_size": visual.conv1.weight.shape[-1]},
        projection_dim=dim,
    )
    twin = CLIPModel(config).eval()
    state = {
        "logit_scale": model.logit_scale,
        "visual_projection.weight": visual.proj.T,
        "text_projection.weight": model.text_projection.T,
        "text_model.embeddings.token_embedding.weight": model.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": model.positional_embedding,
        "vision_model.embeddings.class_embedding": visual.class_embedding,
        "vision_model.embeddings.patch_embedding.weight": visual.conv1.weight,
        "vision_model.embeddings.position_embedding.weight": visual.positional_embedding,
    }
    for theirs, ours in [
        ("text_model.final_layer_norm", model.ln_final),
        ("vision_model.pre_layrnorm", visual.ln_pre),
        ("vision_model.post_layernorm", visual.ln_post),
    ]:
        state |= {f"{theirs}.{key}": value for key, value in ours.named_parameters()}
    for theirs, blocks in [
        ("text_model", text.resblocks),
        ("vision_model", visual.transformer.resblocks),
    ]:
        for layer, block in enumerate(blocks):
            prefix = f"{theirs}.encoder.layers.{layer}"
            for projection, weight, bias in zip(
                "qkv",
                block.attn.in_proj_weight.chunk(3),
                block.attn.in_proj_bias.chunk(3),
                strict=True,
            ):
                state[f"{prefix}.self_attn.{projection}_proj.weight"] = weight
                state[f"{prefix}.self_attn.{projection}_proj.bias"] = bias
            for part, module in [
                ("self_attn.out_proj", block.attn.out_proj),
                ("layer_norm1", block.ln_1),
                ("layer_norm2", block.ln_2),
                ("mlp.fc1", block.mlp.c_fc),
                ("mlp.fc2", block.mlp.c_proj),
            ]:
                state |= {f"{prefix}.{part}.{k}": v for k, v in module.named_parameters()}
    twin.load_state_dict({key: value.detach() for key, value in state.items()}, strict=True)
    return twin


def transformers_tokenizer(folder):
    """transformers' CLIP tokenizer on open_clip's vocabulary, which is OpenAI's."""
    from transformers import CLIPTokenizer

    ours = open_clip.get_tokenizer("ViT-B-32")
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): index for token, index in ours.encoder.items()}
    merges = [" ".join(pair) for pair, _ in sorted(ours.bpe_ranks.items(), key=lambda kv: kv[1])]
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]))
    return CLIPTokenizer.from_pretrained(str(folder))
