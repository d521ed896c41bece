"""A vision-language judge is one file: a chat template, one forward pass, a card for each score.

`tests/vision_language_judge.py` is that file; here it keeps every promise that rewards make.
"""

import threading

import pytest
import torch
from made_rewards import card, check_reward, scorer
from pictures import picture
from streamed import outcomes
from vision_language_judge import CARDS, FILES, Judge, JudgeReward, tiny_network, tiny_tokenizer

from rewardkit import Clip, Loader, RawMedia, Reward, Sample

PROMPTS = ["a red ring", "a cat that walks", "two rings", "another thing"]


def clip(seed, frames, fps):
    return Clip(torch.stack([picture(10 * seed + i, 24, 32) for i in range(frames)]), fps)


IMAGES = [picture(seed, 20 + seed, 30) for seed in range(4)]
CLIPS = [clip(0, 8, 8.0), clip(1, 5, 2.0), clip(2, 9, 4.0), clip(3, 1, 24.0)]


DTYPES = ("float32", "bfloat16")


def rewards(loader):
    return [JudgeReward.load(card, loader) for card in CARDS]


@pytest.fixture(scope="module")
def tiny():
    return rewards(Loader("cpu", tiny=True))


MEDIA = {"images": IMAGES, "clips": CLIPS, "both": IMAGES[:2] + CLIPS[2:]}


@pytest.mark.parametrize("media", MEDIA.values(), ids=MEDIA)
@pytest.mark.parametrize("place", [0, 1], ids=[card.name for card in CARDS])
def test_it_keeps_the_contract_for_images_and_clips_and_both_together(tiny, place, media):
    check_reward(tiny[place], media, PROMPTS)


def test_its_rewards_share_one_forward_in_batches_as_the_cards_ask(tiny, monkeypatch):
    judge, sizes, threads = tiny[0].extractor, [], set()
    features, prepare = judge.features, judge.prepare
    monkeypatch.setattr(judge, "features", lambda p: sizes.append(len(p)) or features(p))
    monkeypatch.setattr(
        judge, "prepare", lambda s: threads.add(threading.current_thread().name) or prepare(s)
    )
    assert tiny[1].extractor is judge
    scores = scorer(*tiny)(CLIPS, PROMPTS)
    assert sizes == [2, 2] and all(name.startswith("rewardkit-decode") for name in threads)
    assert set(scores) == {"judge.yes", "judge.margin"}


def test_it_reads_the_prompt_and_as_many_frames_as_its_card_says(tiny):
    judge = tiny[0].extractor
    for medium, number in [(IMAGES[0], 1), (CLIPS[0], 2), (CLIPS[1], 5), (CLIPS[2], 5)]:
        question = judge.prepare(Sample(medium, "a ring"))
        assert question.frames.shape == (number, 3, 336, 336)
        text = tiny_tokenizer().decode(question.ids)
        frames = "<image>" * 4 * number  # four patches each
        content = f'{frames}Does this show "a ring"? Answer Yes or No.'
        assert text == f"user: {content}\nassistant: "
    ring, cat = scorer(*tiny)(IMAGES[:1] * 2, ["a ring", "a cat"])["judge.margin"]
    assert ring != cat


def test_a_sample_it_cannot_ask_about_costs_only_itself(tiny):
    got = outcomes(scorer(*tiny), IMAGES[:3], ["a ring", " ", "an <image>"])
    assert [bool(outcome.errors) for outcome in got] == [False, True, True]
    assert "needs a prompt" in str(got[1].errors["judge.yes"])
    assert "contains <image>" in str(got[2].errors["judge.yes"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of a snapshot: config, chat template, tokenizer, shards."""
    path = tmp_path_factory.mktemp("judge")
    torch.manual_seed(1)
    tiny_network().save_pretrained(path, max_shard_size="60KB")
    tiny_tokenizer().save_pretrained(path)
    return path


def test_shards_and_tokenizer_are_read_from_one_snapshot_in_any_dtype(folder, tiny):
    loaders = {dtype: Loader("cpu", dtype, {FILES.name: folder}) for dtype in DTYPES}
    scores = {d: scorer(*rewards(loader))(CLIPS, PROMPTS) for d, loader in loaders.items()}
    files = loaders["float32"].located[FILES.name].files
    assert {"tokenizer.json", "chat_template.jinja", "config.json"} <= set(files)
    assert sum(name.endswith(".safetensors") for name in files) > 2
    torch.testing.assert_close(scores["bfloat16"], scores["float32"], rtol=0.02, atol=0.01)
    random = scorer(*tiny)(CLIPS, PROMPTS)["judge.margin"]
    assert not torch.allclose(scores["float32"]["judge.margin"], random, atol=1e-3)
    network = Judge.load(loaders["bfloat16"])._network
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}


class Kept(Reward):
    """How little an edit changes of the picture it starts from."""

    def __init__(self):
        self.extractor = RawMedia()
        self.card = card("kept", needs_references=("source",))

    @classmethod
    def load(cls, card, loader):
        return cls()

    def score(self, batch, features):
        changes = [(s.picture.float() - s.references["source"].float()).abs() for s in features]
        return torch.stack([1 - change.mean() / 255 for change in changes])


def test_a_reward_compares_with_reference_media():
    edited = [torch.full((3, 4, 4), level, dtype=torch.uint8) for level in (0, 51, 255)]
    source = {"source": torch.zeros(4, 4, 3).numpy()}  # anything that media may be
    scores = scorer(Kept())(edited, references=[source] * 3)["kept"]
    torch.testing.assert_close(scores, torch.tensor([1.0, 0.8, 0.0]))
    got = outcomes(scorer(Kept()), edited)
    assert all("this sample has no source" in str(o.errors["kept"]) for o in got)
