"""`videoalign.*` gives the numbers of upstream's own code on the same checkpoint and clips."""

import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from golden.media import render
from golden.prompted import layout
from golden.videoalign import (
    CLIPS,
    PUBLISHED,
    ROWS,
    STEP,
    TEXTS,
    load,
    some,
    upstream_names,
    write_base,
    write_checkpoint,
)
from made_rewards import scorer
from safetensors.torch import save_file
from streamed import outcomes
from transformers import Qwen2VLConfig, Qwen2VLModel

from rewardkit.engine import vision_language
from rewardkit.engine.loader import Loader
from rewardkit.engine.preprocess import FitArea, fitted_shape
from rewardkit.engine.registry import entry, list_rewards
from rewardkit.errors import InputError, WeightsError
from rewardkit.media.batch import Clip, Sample
from rewardkit.media.clips import read_clip
from rewardkit.records.provenance import sha256_text
from rewardkit.rewards import videoalign
from rewardkit.weights.nets.qwen2_vl import merged, renamed
from rewardkit.weights.nets.qwen2_vl_tiny import tiny_tokenizer

ATOL = 1e-4
GOLDEN = load()
NAMES = [f"videoalign.{tag}" for tag in ("vq", "mq", "ta", "overall")]
RAW = [f"videoalign.{tag}-raw" for tag in ("vq", "mq", "ta")]
MEDIA = [render(recipe) for recipe in CLIPS]


def scored(loader, names, media=MEDIA, prompts=TEXTS):
    """Scores of clips one by one, `[B, len(names)]`."""
    rewards = scorer(*(entry(name).cls.load(entry(name).card, loader) for name in names))
    rows = [rewards([m], [p]) for m, p in zip(media, prompts, strict=True)]
    return torch.stack([torch.cat([row[name] for name in names]) for row in rows])


def gap(loader, *places):
    """How far raw scores of these cases are from upstream's, at most."""
    media, texts = [MEDIA[i] for i in places], [TEXTS[i] for i in places]
    upstream = torch.tensor([GOLDEN.cases[i].raw for i in places])
    return float((scored(loader, RAW, media, texts) - upstream).abs().max())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The checkpoint and the base that upstream's code was given."""
    root = tmp_path_factory.mktemp("videoalign")
    write_base(root / "base", videoalign.template())
    tiny_tokenizer(videoalign.template()).save_pretrained(root / "base")
    write_checkpoint(root / "checkpoint", "base", GOLDEN.tensors)
    return {"videoalign.v1": root / "checkpoint", "qwen2-vl-2b": root / "base"}


@pytest.fixture(scope="module")
def loader(folders):
    return Loader("cpu", weights=folders)


@pytest.fixture(scope="module")
def judge(loader):
    return entry(NAMES[0]).cls.load(entry(NAMES[0]).card, loader).extractor


def test_scores_are_upstreams_on_the_same_checkpoint(loader):
    raw, normed = (torch.tensor([getattr(c, k) for c in GOLDEN.cases]) for k in ("raw", "normed"))
    assert min(raw.amax(0) - raw.amin(0)) > 100 * ATOL
    found = scored(loader, [*RAW, *NAMES, "videoalign.overall-raw"])
    expected = torch.cat([raw, normed, raw.sum(1, keepdim=True)], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=ATOL)


def test_the_questionnaire_is_upstreams():
    assert sha256_text(videoalign.template()) == GOLDEN.template_sha256


def test_frames_and_pixels_are_upstreams(judge):
    for clip, text, case in zip(MEDIA, TEXTS, GOLDEN.cases, strict=True):
        assert videoalign.frame_indices(len(clip.frames), clip.fps) == case.indices
        seen = judge.prepare(Sample(clip, text))
        assert list(seen.grid) == case.grid
        assert some(judge.patches(seen)) == pytest.approx(case.pixels, rel=0, abs=2e-6)


def test_a_batch_is_padded_as_upstreams_and_scores_as_its_clips_alone(judge):
    prepared = [judge.prepare(Sample(*pair)) for pair in zip(MEDIA, TEXTS, strict=True)]
    ids, mask = judge.padded(prepared)
    assert ids.tolist() == GOLDEN.ids
    assert len({len(seen.ids) for seen in prepared}) == len(CLIPS), "every text is padded but one"
    assert mask.sum(1).tolist() == [len(seen.ids) for seen in prepared]
    with torch.inference_mode():
        together = judge.features(prepared).diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(together, torch.tensor(GOLDEN.batch), rtol=0, atol=ATOL)
    alone = torch.tensor([case.raw for case in GOLDEN.cases])
    torch.testing.assert_close(together, alone, rtol=0, atol=ATOL)


def test_only_the_text_alignment_reads_the_prompt(loader):
    own = torch.tensor([case.raw for case in GOLDEN.cases[2:]])
    other = torch.tensor([case.other_prompt for case in GOLDEN.cases[2:]])
    found = scored(loader, RAW, MEDIA[2:], ["something else"] * 3)
    torch.testing.assert_close(found, other, rtol=0, atol=ATOL)
    assert (other - own)[:, :2].abs().max() <= 1e-5 < 10 * ATOL < (other - own)[:, 2].abs().min()
    without = scored(loader, RAW[:2], MEDIA[2:], [None] * 3)
    torch.testing.assert_close(without, found[:, :2], rtol=0, atol=1e-5)


def test_which_frames_are_looked_at_is_upstreams_rule():
    errors = 0
    for case in GOLDEN.samplings:
        if case.error:
            errors += 1
            with pytest.raises(InputError, match=r"at least 2, and this one has 1\. Give a longer"):
                videoalign.frame_indices(case.frames, case.fps)
        else:
            assert videoalign.frame_indices(case.frames, case.fps) == case.indices, case
    assert errors == len(GOLDEN.samplings) / 21, "of one frame, at any rate"


# 2.5 and 3.5 pairs: half to even; a clip of 3 has one pair; 768 are the most.
@pytest.mark.parametrize(
    ("number", "fps", "indices"),
    [
        (60, 24.0, [0, 20, 39, 59]),
        (84, 24.0, [0, 12, 24, 36, 47, 59, 71, 83]),
        (3, 24.0, [0, 2]),
        (5, 60.0, [0, 1, 3, 4]),
    ],
)
def test_frames_are_chosen_in_pairs_rounded_half_to_even(number, fps, indices):
    assert videoalign.frame_indices(number, fps) == indices


def test_at_most_768_frames_are_looked_at():
    assert len(videoalign.frame_indices(100_000, 24.0)) == 768


def test_sizes_are_upstreams_rule():
    step = next(s for s in videoalign.preprocess(False) if isinstance(s, FitArea))
    for case in GOLDEN.sizes:
        assert list(fitted_shape(*case.before, step)) == case.after
    with pytest.raises(InputError, match="at most 200 times the other"):
        fitted_shape(10, 2001, step)


def test_frames_rounded_half_up_give_other_scores(loader, monkeypatch):
    assert gap(loader, 0) <= ATOL
    monkeypatch.setattr(videoalign, "round", lambda x: int(x + 0.5), raising=False)
    assert gap(loader, 0) > 10 * ATOL


@pytest.mark.parametrize(
    ("place", "change"), [(4, {"low": 3136}), (2, {"high": 602_112}), (1, {"multiple": 56})]
)
def test_another_budget_of_pixels_gives_other_scores(loader, place, change):
    known = entry(RAW[0])
    steps = tuple(
        dataclasses.replace(step, **change) if isinstance(step, FitArea) else step
        for step in known.card.preprocess
    )
    card = known.card.model_copy(update={"preprocess": steps})
    changed = scorer(known.cls.load(card, loader))([MEDIA[place]], [TEXTS[place]])[card.name]
    assert abs(float(changed) - GOLDEN.cases[place].raw[0]) > 10 * ATOL


def test_padding_on_the_left_gives_other_tokens(judge, monkeypatch):
    right = vision_language.pad_sequence
    monkeypatch.setattr(
        vision_language, "pad_sequence", lambda *a, **k: right(*a, **k, padding_side="left")
    )
    prepared = [judge.prepare(Sample(*pair)) for pair in zip(MEDIA, TEXTS, strict=True)]
    assert judge.padded(prepared)[0].tolist() != GOLDEN.ids


def test_positions_in_space_and_time_give_other_scores(loader, monkeypatch):
    whole = Qwen2VLModel.forward

    def in_space(self, input_ids, position_ids, **given):
        kinds = 2 * (input_ids == self.config.video_token_id).int()
        return whole(self, input_ids=input_ids, mm_token_type_ids=kinds, **given)

    monkeypatch.setattr(Qwen2VLModel, "forward", in_space)
    assert gap(loader, 4) > 100 * ATOL


def test_one_forward_serves_every_head(loader, judge, monkeypatch):
    sizes = []
    network = judge._loaded.network
    monkeypatch.setattr(
        type(network), "forward", lambda self, ids, *a: sizes.append(len(ids)) or values[: len(ids)]
    )
    values = torch.randn(2, 3, 3)
    every = [card.name for card in list_rewards() if card.family == "videoalign"]
    rewards = {name: entry(name).cls.load(entry(name).card, loader) for name in every}
    scorer(*(rewards[name] for name in [*NAMES, *RAW, "videoalign.overall-raw"]))(MEDIA[3:], "x")
    assert sizes == [2]
    scorer(*rewards.values())(MEDIA[3:], "x")
    assert sizes == [2, 2, 2], "frames in grey take one more"
    assert len(loader.networks) == 1, "and no second network"


def test_grey_frames_hide_the_colours(loader):
    first = MEDIA[0]
    luma = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[None, :, None, None]
    grey = (first.frames.double() * luma).sum(1, keepdim=True).byte().expand(-1, 3, -1, -1)
    clips = [first, dataclasses.replace(first, frames=grey)]
    colour = scored(loader, ["videoalign.mq"], clips, [None] * 2)[:, 0]
    without = scored(loader, ["videoalign.mq-grey"], clips, [None] * 2)[:, 0]
    assert without[0] == colour[1] and abs(colour[0] - without[0]) > 10 * ATOL


@pytest.mark.parametrize("token", ["<|TA_reward|>", "<|video_pad|>"])
def test_a_prompt_that_spells_the_judges_own_tokens_is_refused(loader, token):
    rewards = scorer(*(entry(name).cls.load(entry(name).card, loader) for name in RAW[:1]))
    (bad, good) = outcomes(rewards, MEDIA[3:], [f"a cat {token}", "a cat"])
    assert f"the prompt holds {token.partition('|')[0]}" in str(bad.errors[RAW[0]])
    assert not good.errors


def test_a_clip_of_one_frame_fails_alone_and_says_why(loader):
    rewards = scorer(*(entry(name).cls.load(entry(name).card, loader) for name in NAMES))
    one = Clip(MEDIA[3].frames[:1], 8.0)
    (bad, good) = outcomes(rewards, [one, MEDIA[4]], ["a cat", "a cat"])
    assert set(bad.errors) == set(NAMES) and not good.errors
    assert "a clip needs at least 2, and this one has 1" in str(bad.errors["videoalign.vq"])


def test_a_clip_without_a_rate_is_refused():
    with pytest.raises(InputError, match="fps is a positive number; None was given"):
        Clip(MEDIA[3].frames, None)


def test_the_published_checkpoint_has_upstreams_tensors_to_the_last():
    config = Qwen2VLConfig(**PUBLISHED)
    config.text_config.vocab_size = ROWS
    with torch.device("meta"):
        ours = Qwen2VLModel(config).state_dict()
        names = upstream_names({name: list(v.shape) for name, v in ours.items()}, rank=64)
        published = {name: torch.empty(shape) for name, shape in names.items()}
        loaded = merged(renamed(published), 2.0, torch.bfloat16)
    assert layout(published) == GOLDEN.layout
    assert GOLDEN.bytes == 5_030_750_208, "and model.pth is 5,031,072,529 bytes long"
    assert layout(loaded) == layout(ours | {"rm_head.weight": torch.empty(3, 1536)})


# What may be wrong with a checkpoint.


def copied(folders, tmp_path, change=lambda state: state, **settings):
    """A loader of the checkpoint with other tensors and other settings."""
    target = tmp_path / "checkpoint"
    write_checkpoint(target, "base", GOLDEN.tensors)
    file = target / STEP / "model.pth"
    torch.save(change(torch.load(file, weights_only=True)), file)
    stated = json.loads((target / "model_config.json").read_text())
    for part, values in settings.items():
        stated[part] = {**stated[part], **values} if values is not None else None
    (target / "model_config.json").write_text(json.dumps(stated))
    return Loader("cpu", weights={**folders, "videoalign.v1": target})


def plain(state):
    """A model without LoRA, as upstream saves one that was trained whole."""
    names = {}
    for key, value in state.items():
        if "lora_" not in key:
            names[key.removeprefix("base_model.model.").replace(".base_layer", "")] = value
    return names


def todays(state):
    """The names of transformers since 4.52."""
    names = {}
    for key, value in plain(state).items():
        if key.startswith("visual."):
            key = f"model.{key}"
        elif key.startswith("model."):
            key = key.replace("model.", "model.language_model.", 1)
        names[key] = value
    return names


def without_lora(state):
    return {key: torch.zeros_like(v) if "lora_" in key else v for key, v in state.items()}


def test_a_whole_model_loads_under_old_and_new_names(folders, tmp_path):
    base = copied(folders, tmp_path / "a", without_lora)
    zero = scored(base, RAW, MEDIA[4:], TEXTS[4:])
    assert gap(base, 4) > 100 * ATOL, "LoRA counts"
    for name, change in (("b", plain), ("c", todays)):
        whole = copied(folders, tmp_path / name, change, peft_lora_config={"lora_enable": False})
        assert torch.equal(scored(whole, RAW, MEDIA[4:], TEXTS[4:]), zero)


def test_rank_stabilised_lora_is_scaled_by_the_root_of_its_rank(folders, tmp_path):
    same = {"use_rslora": True, "lora_alpha": 4}  # 4 / sqrt(4) = 8 / 4
    assert gap(copied(folders, tmp_path / "a", peft_lora_config=same), 4) <= ATOL
    other = {"use_rslora": False, "lora_alpha": 4}
    assert gap(copied(folders, tmp_path / "b", peft_lora_config=other), 4) > 10 * ATOL


def test_a_checkpoint_of_lora_alone_takes_the_rest_from_its_base(folders, tmp_path, monkeypatch):
    target = tmp_path / "checkpoint"
    write_checkpoint(target, "base", GOLDEN.tensors)
    state = torch.load(target / STEP / "model.pth", weights_only=True)
    (target / STEP / "model.pth").unlink()
    adapters = {k.replace(".default", ""): v for k, v in state.items() if "lora_" in k}
    trained = ("rm_head", "embed_tokens", "visual.merger")  # what was trained beside it
    others = {k: v for k, v in state.items() if any(word in k for word in trained)}
    save_file(adapters, target / STEP / "adapter_model.safetensors")
    torch.save(others, target / STEP / "non_lora_state_dict.pth")
    # The base has rows to spare, and none of what was trained.
    base = {k: v for k, v in plain(state).items() if "rm_head" not in k}
    base = {k: v + 1 if "merger" in k else v.contiguous() for k, v in base.items()}
    rows = torch.cat([base["model.embed_tokens.weight"], torch.ones(61, 32)])
    base |= {"model.embed_tokens.weight": rows}
    kept = tmp_path / "weights" / "qwen2-vl-2b.weights"
    kept.mkdir(parents=True)
    del base["lm_head.weight"]
    save_file(base, kept / "model.safetensors")
    monkeypatch.setenv("REWARDKIT_WEIGHTS", str(kept.parent))
    loader = Loader("cpu", weights={**folders, "videoalign.v1": target})
    assert gap(loader, 4) <= ATOL
    assert "qwen2-vl-2b.weights" in loader.located, "the result names it"


@pytest.mark.parametrize(
    ("change", "settings", "what"),
    [
        (lambda s: s | {"visual.more": s["base_model.model.rm_head.weight"]}, {}, "visual.more"),
        (
            lambda s: {k: v for k, v in s.items() if not k.endswith("norm1.weight")},
            {},
            r"lacks 2 tensors: visual\.blocks\.0\.norm1\.weight",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "q_proj.lora_A" not in k},
            {},
            r"the LoRA of language_model\.layers\.0\.self_attn\.q_proj\.weight lacks its other",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "rm_head" not in k},
            {},
            "the head of the judge cannot be loaded: .*1 missing",
        ),
        (lambda s: s, {"data_config": {"fps": 4.0}}, "states fps = 4.0; .* with 2.0 only"),
        (lambda s: s, {"inference_config": None}, "does not describe a VideoAlign checkpoint"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(folders, tmp_path, change, settings, what):
    bad = copied(folders, tmp_path, change, **settings)
    with pytest.raises(WeightsError, match=what):
        entry(NAMES[0]).cls.load(entry(NAMES[0]).card, bad)


def test_the_checkpoints_own_norms_are_used(folders, tmp_path):
    other = copied(folders, tmp_path, inference_config={"VQ_mean": 1.0, "VQ_std": 2.0})
    names = ["videoalign.vq-raw", "videoalign.vq"]
    raw, normed = scored(other, names, MEDIA[4:], TEXTS[4:]).unbind(1)
    torch.testing.assert_close(normed, (raw - 1) / 2)


@pytest.mark.data
def test_real_files_are_decoded_and_scored_as_upstream_does(loader, judge):
    folder = Path(os.environ["REWARDKIT_TEST_DATA"])
    assert len(GOLDEN.files) == 3
    for name, case in GOLDEN.files.items():
        clip = read_clip(folder / name)
        assert (len(clip.frames), clip.stated_fps) == (case.frames, case.fps)
        assert videoalign.frame_indices(len(clip.frames), clip.stated_fps) == case.indices
        seen = judge.prepare(Sample(clip, TEXTS[0]))
        assert some(judge.patches(seen)) == pytest.approx(case.pixels, rel=0, abs=2e-6)
        found = scored(loader, RAW + NAMES, [clip], TEXTS[:1])[0]
        expected = torch.tensor(case.raw + case.normed)
        torch.testing.assert_close(found, expected, rtol=0, atol=ATOL)
