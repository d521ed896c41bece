"""A vision-language judge is one file: a chat template in `prepare`, one forward for all its heads.

What stands above the tests is what such a file in `rewardkit/rewards/` holds; its network is small.
"""

import threading

import pytest
import torch
from made_rewards import card, scorer
from streamed import outcomes
from torch import nn
from torch.nn.utils.rnn import pad_sequence

from rewardkit.engine.extractor import Extractor, RawMedia
from rewardkit.engine.loader import Loader
from rewardkit.engine.reward import Reward
from rewardkit.media.batch import Clip
from rewardkit.weights.pins import Snapshot

FILES = Snapshot(name="judge", repo="us/judge", patterns=("*.json", "*.safetensors"), licence="MIT")
HEADS = ("quality", "motion", "alignment")
FRAME, FPS = 0, 2.0  # the token that stands for a frame; how many are looked at in a second


class Network(nn.Module):
    """Reads text and frames in one sequence, and gives a number for each head."""

    def __init__(self):
        super().__init__()
        self.words, self.see = nn.Embedding(256, 16), nn.Linear(12, 16)
        self.read, self.heads = nn.Linear(16, 16), nn.Linear(16, len(HEADS))

    def forward(self, ids, frames, lengths):
        tokens = self.words(ids).masked_scatter((ids == FRAME)[..., None], self.see(frames))
        real = torch.arange(ids.shape[1]) < lengths[:, None]
        read = (self.read(tokens).relu() * real[..., None]).sum(dim=1)
        return self.heads(read / lengths[:, None])


class VideoJudge(Extractor):
    """The processor in loader threads, the network on the device, once for every head."""

    def __init__(self, loader):
        self.network = loader.pretrained(Network, FILES, tiny=Network)
        self.device, self.threads, self.sizes = loader.device, set(), []

    def prepare(self, sample):
        self.threads.add(threading.current_thread().name)
        step = max(1, round(sample.clip.fps / FPS))
        frames = nn.functional.adaptive_avg_pool2d(sample.clip.frames[::step] / 255, 2).flatten(1)
        before, after = b"user: ", f" Does it show {sample.prompt}?\nassistant:".encode()
        return torch.tensor([*before, *[FRAME] * len(frames), *after]), frames

    def features(self, prepared):
        self.sizes.append(len(prepared))
        ids = [tokens.to(self.device) for tokens, _ in prepared]
        frames = torch.cat([frames for _, frames in prepared]).to(self.device)
        lengths = torch.tensor([len(tokens) for tokens in ids])
        return self.network(pad_sequence(ids, batch_first=True, padding_value=1), frames, lengths)


class Head(Reward):
    """One head of the judge."""

    def __init__(self, card, judge):
        self.card, self.extractor = card, judge

    @classmethod
    def load(cls, card, loader):
        return cls(card, loader.shared(FILES, lambda: VideoJudge(loader)))

    def score(self, batch, features):
        return features[:, HEADS.index(self.card.name.rpartition(".")[2])]


CARDS = [
    card(f"judge.{head}", inputs=("video",), needs_prompt=True, batch_size=2, weights=(FILES,))
    for head in HEADS
]


@pytest.fixture
def heads():
    loader = Loader("cpu", tiny=True)
    return [Head.load(own, loader) for own in CARDS]


def clip(seed, frames, fps):
    generator = torch.Generator().manual_seed(seed)
    return Clip(torch.randint(256, (frames, 3, 8, 8), generator=generator, dtype=torch.uint8), fps)


MEDIA = [clip(0, 8, 8.0), clip(1, 5, 2.0), clip(2, 9, 4.0), clip(0, 8, 8.0)]
PROMPTS = ["a red ring", "a cat that walks", "two rings", "another thing"]


def test_all_heads_share_one_forward_of_prompt_and_frames_together(heads):
    judge = heads[0].extractor
    scores = scorer(*heads)(MEDIA, PROMPTS)
    assert judge.sizes == [2, 2], "as the cards ask, and once for three heads"
    assert all(name.startswith("rewardkit-decode") for name in judge.threads)
    for values in scores.values():
        assert values.std() > 1e-3 and values[0] != values[3], "the prompt is read"
    for index, medium in enumerate(MEDIA):
        alone = scorer(*heads)([medium], [PROMPTS[index]])
        for name, values in scores.items():
            torch.testing.assert_close(alone[name][0], values[index], rtol=0, atol=1e-6)


def test_a_clip_without_a_prompt_never_reaches_the_template(heads):
    judge = heads[0].extractor
    got = outcomes(scorer(*heads), [*MEDIA[:2], torch.zeros(3, 8, 8).byte()], ["a ring", " ", "x"])
    assert judge.sizes == [1] and [bool(o.errors) for o in got] == [False, True, True]
    assert "needs a prompt" in str(got[1].errors["judge.motion"])
    assert "takes videos; an image was given" in str(got[2].errors["judge.motion"])


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
