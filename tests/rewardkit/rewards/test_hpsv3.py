"""`hps.v3` gives the numbers of upstream's own code on the same checkpoint and pictures."""

import dataclasses

import pytest
import torch
from golden.hpsv3 import PUBLISHED, ROWS, SIZES, TEXTS, load, write_checkpoint
from golden.prompted import layout
from golden.videoalign import some, write_base
from made_rewards import scorer
from pictures import picture
from safetensors.torch import load_file, save_file
from streamed import outcomes
from transformers import Qwen2VLConfig, Qwen2VLModel

from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.errors import UsageError, WeightsError
from rewardkit.media.batch import Sample
from rewardkit.records.provenance import sha256_text
from rewardkit.rewards import hpsv3
from rewardkit.weights.nets.qwen2_vl import renamed
from rewardkit.weights.nets.qwen2_vl_tiny import tiny_tokenizer

ATOL = 1e-4
GOLDEN = load()
MEDIA = [picture(index, *size) for index, size in enumerate(SIZES)]
MEANS = torch.tensor([case.outputs[0] for case in GOLDEN.cases])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The checkpoint and the base that upstream's code was given."""
    root = tmp_path_factory.mktemp("hpsv3")
    write_base(root / "base", hpsv3.template())
    tiny_tokenizer(hpsv3.template()).save_pretrained(root / "base")
    write_checkpoint(root / "HPSv3.safetensors", GOLDEN.tensors)
    return {"hps.v3": root / "HPSv3.safetensors", "qwen2-vl-7b": root / "base"}


@pytest.fixture(scope="module")
def loader(files):
    return Loader("cpu", weights=files)


@pytest.fixture(scope="module")
def reward(loader):
    return entry("hps.v3").cls.load(entry("hps.v3").card, loader)


def gap(reward, place=0):
    """How far the score of a case is from upstream's."""
    score = scorer(reward)([MEDIA[place]], [TEXTS[place]])["hps.v3"]
    return abs(float(score) - GOLDEN.cases[place].outputs[0])


def test_scores_are_upstreams_on_the_same_checkpoint(reward):
    assert float(MEANS.max() - MEANS.min()) > 100 * ATOL
    alone = [scorer(reward)([m], [t])["hps.v3"] for m, t in zip(MEDIA, TEXTS, strict=True)]
    torch.testing.assert_close(torch.cat(alone), MEANS, rtol=0, atol=ATOL)
    other = scorer(reward)(MEDIA[:2], ["something else"] * 2)["hps.v3"]
    expected = torch.tensor([case.other_prompt[0] for case in GOLDEN.cases[:2]])
    torch.testing.assert_close(other, expected, rtol=0, atol=ATOL)
    assert float((expected - MEANS[:2]).abs().max()) > 10 * ATOL, "the prompt counts"


def test_pixels_tokens_and_both_outputs_of_a_padded_batch_are_upstreams(reward):
    judge = reward.extractor
    prepared = [judge.prepare(Sample(*pair)) for pair in zip(MEDIA, TEXTS, strict=True)]
    for seen, case in zip(prepared, GOLDEN.cases, strict=True):
        assert list(seen.grid) == case.grid
        assert some(judge.patches(seen)) == pytest.approx(case.pixels, rel=0, abs=2e-6)
    assert judge.padded(prepared)[0].tolist() == GOLDEN.ids
    assert len({len(seen.ids) for seen in prepared}) > 1, "some are padded"
    with torch.inference_mode():
        together = judge.features(prepared)
    torch.testing.assert_close(together[:, 0], torch.tensor(GOLDEN.batch), rtol=0, atol=ATOL)
    deviations = torch.tensor([case.outputs[1] for case in GOLDEN.cases])
    assert float((deviations - MEANS).abs().min()) > 10 * ATOL, "the outputs are told apart"


def test_the_questionnaire_is_upstreams():
    assert sha256_text(hpsv3.template()) == GOLDEN.template_sha256


@pytest.mark.parametrize("trap", ["budget", "template", "positions"])
def test_another_preprocessing_text_or_position_gives_other_scores(
    loader, reward, monkeypatch, trap
):
    known = entry("hps.v3")
    card = known.card
    if trap == "budget":  # that of Qwen2-VL, which enlarges no picture to 200,704 pixels
        fit, *rest = card.preprocess
        steps = (dataclasses.replace(fit, low=3136), *rest)
        card = card.model_copy(update={"preprocess": steps})
    if trap == "template":  # as where upstream drops it
        text = "\nPlease provide the overall ratings of this image: <|Reward|>\n\nEND\n"
        monkeypatch.setattr(hpsv3, "template", lambda: text)
    if trap == "positions":
        whole = Qwen2VLModel.forward

        def in_space(self, input_ids, position_ids, **given):
            kinds = (input_ids == self.config.image_token_id).int()
            return whole(self, input_ids=input_ids, mm_token_type_ids=kinds, **given)

        monkeypatch.setattr(Qwen2VLModel, "forward", in_space)
    assert gap(known.cls.load(card, loader)) > 10 * ATOL


def test_a_prompt_that_spells_the_judges_own_token_is_refused_alone(reward):
    bad, good = outcomes(scorer(reward), MEDIA[:2], ["a cat <|Reward|>", "a cat"])
    assert "the prompt holds <|Reward|>" in str(bad.errors["hps.v3"]) and not good.errors


def test_names_that_users_guess_are_found():
    assert resolve("hpsv3") == "hps.v3" and resolve("hps") == "hps.v2.1"
    with pytest.raises(UsageError, match=r"hps\.v3"):
        resolve("hps.3")


def test_the_published_checkpoint_has_upstreams_tensors_to_the_last():
    config = Qwen2VLConfig(**PUBLISHED)
    config.text_config.vocab_size = ROWS
    with torch.device("meta"):
        ours = Qwen2VLModel(config).state_dict()
        head = {f"rm_head.{name}": v for name, v in hpsv3.head(3584).state_dict().items()}
    names = {
        name.replace("language_model.", "model.", 1): value for name, value in ours.items()
    } | head
    names["lm_head.weight"] = ours["language_model.embed_tokens.weight"]
    assert layout(names) == GOLDEN.layout
    assert layout(renamed(names)) == layout(ours | head)
    assert GOLDEN.bytes == sum((4 if n in head else 2) * v.numel() for n, v in names.items())


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda s: s | {"visual.more": s["rm_head.5.bias"]}, "visual.more"),
        (lambda s: {k: v for k, v in s.items() if "norm1.weight" not in k}, "lacks 2 tensors"),
        (lambda s: {k: v for k, v in s.items() if k != "rm_head.3.bias"}, "the head .* missing"),
        (lambda s: s | {"rm_head.5.weight": s["rm_head.5.weight"][:1]}, "the head of the judge"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(files, tmp_path, change, what):
    path = tmp_path / "HPSv3.safetensors"
    save_file({k: v.clone() for k, v in change(load_file(files["hps.v3"])).items()}, path)
    with pytest.raises(WeightsError, match=what):
        entry("hps.v3").cls.load(
            entry("hps.v3").card, Loader("cpu", weights={**files, "hps.v3": path})
        )
