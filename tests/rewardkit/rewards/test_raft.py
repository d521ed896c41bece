"""RAFT's flow goes through the rules of `motion.py`; the network is torchvision's, strictly."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from golden.cases import load
from golden.media import clip, render
from golden.raft import random_raft
from torchvision.models.optical_flow import raft_large

from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry
from rewardkit.errors import InputError, WeightsError
from rewardkit.media.batch import Batch, Clip, Sample
from rewardkit.rewards.motion import dynamic_degree, flow_of, motion_smoothness
from rewardkit.rewards.raft import DEGREE, SMOOTHNESS, UPDATES, WEIGHTS, RaftFlow
from rewardkit.weights.nets.raft import renamed


def loaded(name, loader=None):
    found = entry(name)
    return found.cls.load(found.card, loader or Loader("cpu", tiny=True))


def score(reward, *clips):
    prepared = [reward.prepare(Sample(one)) for one in clips]
    with torch.inference_mode():
        return reward.score(Batch([]), reward.features(prepared)).tolist()


class Drift(torch.nn.Module):
    """A network that sees everything move, and remembers what it was given."""

    def __init__(self, dx, dy):
        super().__init__()
        self.velocity, self.seen = torch.tensor([dx, dy]), []

    def forward(self, first, second, num_flow_updates):
        self.seen.append((first, second, num_flow_updates))
        # Columns and rows are told apart by a slope, so that a wrong crop shows.
        slope = torch.arange(first.shape[-1], dtype=torch.float32) / 1000
        flow = self.velocity[:, None, None].expand(2, *first.shape[-2:]) + slope
        return [torch.zeros_like(flow)[None], flow[None]]


def test_the_degree_is_that_of_the_networks_flow():
    reward, drifting = loaded(DEGREE), clip(0, (96, 96), frames=4)
    reward._flow._network = network = Drift(3.0, 4.0)
    # 5 pixels; the threshold is 6 per 256: 2.25. The slope adds up to 0.095 in both directions.
    (degree,) = score(reward, drifting)
    assert degree == pytest.approx(5 / 2.25, rel=0.03)
    assert len(network.seen) == 3
    first, second, updates = network.seen[0]
    expected = 2 * (drifting.frames[:2].float() / 255) - 1
    assert torch.equal(first[0], expected[0]) and torch.equal(second[0], expected[1])
    assert updates == 2 and UPDATES == 20


def test_only_eight_frames_a_second_are_compared():
    reward = loaded(DEGREE)
    reward._flow._network = network = Drift(1.0, 0.0)
    score(reward, clip(0, (64, 64), frames=9, fps=24.0))
    assert len(network.seen) == 2  # of frames 0, 3 and 6


def test_frames_are_padded_to_multiples_of_eight_and_flow_is_cropped():
    flow = RaftFlow(Loader("cpu", tiny=True))
    flow._network = network = Drift(0.0, 0.0)
    frames = clip(1, (43, 62), frames=2).frames.permute(0, 2, 3, 1).numpy()
    found = flow(*frames)
    (first, _, _) = network.seen[0]
    # 5 rows more, 2 of them above; 2 columns more, one on each side. Borders are repeated.
    assert first.shape == (1, 3, 48, 64) and found.shape == (43, 62, 2)
    assert flow.padded(*frames).shape == (48, 64, 2)
    assert torch.equal(first[0, :, 0], first[0, :, 2]) and not torch.equal(
        first[0, :, 2], first[0, :, 3]
    )
    np.testing.assert_allclose(found[0, :, 0], np.arange(1, 63) / 1000, rtol=1e-6)


def test_smoothness_warps_along_the_networks_flow():
    drifting = clip(7, (96, 96), frames=5, velocity=(2.0, 0.0))

    class Along(Drift):
        """Forth by 4 pixels between every second frame, and back by 4 the other way round."""

        def forward(self, first, second, num_flow_updates):
            forth = len(self.seen) % 2 == 0
            self.velocity = torch.tensor([4.0 if forth else -4.0, 0.0])
            self.seen.append(None)
            return [self.velocity[:, None, None].expand(2, 96, 96)[None]]

    reward = loaded(SMOOTHNESS)
    still = score(reward, clip(7, (96, 96), frames=5))
    reward._flow._network = Along(0.0, 0.0)
    (told,) = score(reward, drifting)
    assert told > 0.99 and told == pytest.approx(motion_smoothness(drifting), abs=0.01)
    assert still[0] <= 1


def test_one_network_serves_both_rewards():
    loader = Loader("cpu", tiny=True)
    assert loaded(DEGREE, loader)._flow is loaded(SMOOTHNESS, loader)._flow
    assert len(loader.networks) == 1


@pytest.mark.parametrize(("size", "fits"), [((25, 40), True), ((24, 40), False)])
def test_frames_that_are_too_small_are_refused(size, fits):
    reward = loaded(DEGREE)
    small = Sample(clip(0, size, frames=3))
    if fits:
        assert len(reward.prepare(small)) == 3
    else:
        with pytest.raises(InputError, match="at least 25x25 pixels for RAFT; this video is 40x24"):
            reward.prepare(small)


@pytest.mark.parametrize(("name", "frames"), [(DEGREE, 1), (SMOOTHNESS, 2)])
def test_too_few_frames_are_refused(name, frames):
    few = Clip(clip(0, (64, 64), frames=3).frames[:frames], 8.0)
    with pytest.raises(InputError, match=f"{name} compares frames and needs at least {frames + 1}"):
        loaded(name).prepare(Sample(few))


@pytest.mark.slow
def test_torchvisions_checkpoint_is_loaded_strictly(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = raft_large().eval()
    path = tmp_path / WEIGHTS.files[0]
    torch.save(network.state_dict(), path)
    flow = RaftFlow(Loader("cpu", weights={WEIGHTS.name: path}))
    frames = clip(2, (128, 128), frames=2, velocity=(3.0, 1.0)).frames
    with torch.inference_mode():
        found = flow(*frames.permute(0, 2, 3, 1).numpy())
        levels = 2 * (frames.float() / 255) - 1
        expected = network(levels[:1], levels[1:], num_flow_updates=20)[-1][0]
    np.testing.assert_allclose(found, expected.permute(1, 2, 0).numpy(), atol=1e-4)
    with pytest.raises(InputError, match="at least 121x121"):
        flow.check(DEGREE, np.zeros((2, 120, 400, 3), np.uint8))
    state = network.state_dict()
    state.pop(next(iter(state)))
    torch.save(state, path)
    with pytest.raises(WeightsError, match="cannot be loaded"):
        RaftFlow(Loader("cpu", weights={WEIGHTS.name: path}))


def test_the_rules_are_those_of_the_rewards_with_dis():
    """Handed DIS flow, the reward gives DIS's number."""
    reward, drifting = loaded(DEGREE), clip(4, (96, 96), frames=6, velocity=(3.0, 0.0))
    frames = reward.prepare(Sample(drifting))
    reward._flow = SimpleNamespace(padded=flow_of(DEGREE, frames))
    assert reward.features([frames]) == [dynamic_degree(drifting)]


@pytest.mark.slow
def test_scores_are_vbenchs_with_the_same_weights(tmp_path):
    golden = load(DEGREE)
    path = tmp_path / WEIGHTS.files[0]
    torch.save(random_raft().state_dict(), path)
    reward = loaded(DEGREE, Loader("cpu", weights={WEIGHTS.name: path}))
    for case in golden.cases:
        assert golden.spread >= 100 * case.atol
        assert score(reward, render(case.medium)) == pytest.approx([case.score], abs=case.atol)


def test_a_checkpoint_of_rafts_authors_is_renamed():
    """Whatever its names, all of its tensors are used."""
    names = {
        "module.fnet.conv1.weight": "feature_encoder.convnormrelu.0.weight",
        "module.cnet.norm1.running_mean": "context_encoder.convnormrelu.1.running_mean",
        "module.cnet.layer2.0.conv1.bias": "context_encoder.layer2.0.convnormrelu1.0.bias",
        "module.cnet.layer2.0.norm2.weight": "context_encoder.layer2.0.convnormrelu2.1.weight",
        "module.cnet.layer2.0.downsample.1.bias": "context_encoder.layer2.0.downsample.1.bias",
        "module.fnet.conv2.bias": "feature_encoder.conv.bias",
        "module.update_block.encoder.convc1.weight": (
            "update_block.motion_encoder.convcorr1.0.weight"
        ),
        "module.update_block.encoder.conv.bias": "update_block.motion_encoder.conv.0.bias",
        "module.update_block.gru.convq2.bias": "update_block.recurrent_block.convgru2.convq.bias",
        "module.update_block.flow_head.conv2.bias": "update_block.flow_head.conv2.bias",
        "module.update_block.mask.2.weight": "mask_predictor.conv.weight",
    }
    theirs = {name: torch.full((1,), float(i)) for i, name in enumerate(names)}
    expected = dict(zip(names.values(), theirs.values(), strict=True))
    assert renamed({**theirs, "module.cnet.layer2.0.norm3.bias": torch.ones(1)}) == expected
    own = {"feature_encoder.conv.bias": torch.ones(1)}
    assert renamed(own) is own
