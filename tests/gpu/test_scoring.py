"""Scoring at true size: speed, agreement with the CPU, and recovery when memory runs out."""

import pytest
import torch

from rewardkit.engine.extractor import RawMedia
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import Reward
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import RewardSpec, RewardTerm, parse

CARD = entry("sharpness").card


class RandomLoader(Loader):
    """Builds networks of true size with random weights in place of reading files."""

    def module(self, build, weights, convert=None):
        with torch.random.fork_rng(devices=[]), torch.device(self.device):
            torch.manual_seed(0)
            module = build()
        return module.eval().requires_grad_(False)


def scorer(bench, spec, dtype="float32"):
    """A scorer with random weights; of true size on a GPU."""
    loader = (RandomLoader if bench.full else Loader)(
        str(bench.device), dtype, **({} if bench.full else {"tiny": True})
    )
    return Scorer.load(parse(spec, resolve), loader)


def pictures(number, size=256):
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, size, size), generator=generator, dtype=torch.uint8)
        for _ in range(number)
    ]


def test_hps_scores_on_this_device_as_on_the_cpu(bench):
    ours = scorer(bench, "hps.v2.1")
    media, prompts = pictures(4), ["a cat", "a dog", "a red ring", "two boxes"]
    here = ours(media, prompts)["hps.v2.1"]
    for extractor in {id(r.extractor): r.extractor for r in ours.rewards.values()}.values():
        model = extractor._model
        extractor._model, extractor._device = model.to("cpu"), torch.device("cpu")
        extractor._texts.clear()
    there = ours(media, prompts)["hps.v2.1"]
    difference = float((here - there).abs().max())
    if bench.full:
        bench.record("hps.v2.1, GPU against CPU, float32", difference, "")
    assert difference <= 1e-4
    assert float(here.std()) > 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_hps_scores_batches_of_64(bench, dtype):
    ours = scorer(bench, "hps.v2.1", dtype)
    media, prompts = pictures(64 if bench.full else 4), "a cat"
    with bench.peak(f"hps.v2.1, {dtype}, 64 pictures"):
        ours(media[:2], prompts)
        with bench.seconds(f"hps.v2.1, {dtype}, 64 pictures"):
            scores = ours(media, prompts)["hps.v2.1"]
    assert scores.isfinite().all() and len(scores) == len(media)


class Hungry(Reward):
    """Takes a sixth of the free memory for each sample; on a CPU it says that it ran out."""

    def __init__(self, bench):
        self.card, self.extractor, self.bench = CARD, RawMedia(), bench
        self.seen, self.each = [], 0
        if bench.full:
            self.each = torch.cuda.mem_get_info(bench.device)[0] // 6

    @classmethod
    def load(cls, card, loader):
        raise NotImplementedError

    def score(self, batch, features):
        self.seen.append(len(features))
        if self.bench.full:
            taken = torch.empty(self.each * len(features), dtype=torch.uint8, device="cuda")
            del taken
        elif len(features) > 7:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return torch.arange(len(features), dtype=torch.float32)


def test_out_of_memory_halves_the_batch_and_every_sample_is_scored(bench, caplog):
    reward = Hungry(bench)
    ours = Scorer(RewardSpec((RewardTerm(CARD.name),)), {CARD.name: reward})
    before = bench.allocated()
    samples = ours(pictures(32, size=8), "a cat")
    assert len(samples[CARD.name]) == 32
    assert reward.seen[0] == 32
    assert max(reward.seen[-2:]) < 8
    assert bench.allocated() - before < 0.1
    assert len([r for r in caplog.records if "out of memory" in r.message]) <= 1
    again = len(reward.seen)
    ours(pictures(16, size=8), "a cat")
    assert max(reward.seen[again:]) < 8, "the smaller batch size is kept"


@pytest.mark.parametrize("divisor", [1, 255], ids=["bytes", "floats"])
def test_pictures_that_lie_on_this_device_are_scored_as_those_on_the_cpu(bench, divisor):
    ours = Scorer.load(parse("shapes-clip+sharpness", resolve), Loader("cpu"))
    media = torch.stack(pictures(4, size=32))
    here = ours(media, "a red ring")
    there = media.to(bench.device)
    moved = ours(there if divisor == 1 else there / divisor, "a red ring")
    assert all(torch.equal(here[name], moved[name]) for name in here)


def test_a_folder_is_scored_on_this_device_as_on_the_cpu(bench, tmp_path):
    from PIL import Image

    from rewardkit import score_folder

    for index, picture in enumerate(pictures(12, size=32)):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(tmp_path / f"{index:02d}.png")
    rows = [
        score_folder(
            str(tmp_path), "shapes-clip+sharpness", prompt="a red ring", device=device
        ).rows
        for device in ("cpu", str(bench.device))
    ]
    for one, other in zip(*rows, strict=True):
        assert one.error is None and other.error is None
        assert other.scores["shapes-clip"] == pytest.approx(one.scores["shapes-clip"], abs=1e-4)
        assert other.scores["sharpness"] == one.scores["sharpness"]
