"""Motion of a video by VBench's rules, with RAFT's optical flow: nearer to VBench, and dearer.

Teed and Deng 2020, https://arxiv.org/abs/2003.12039; the network is torchvision's, and the rules
are those of `motion.py`. Frames have channels last there, and first in the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, final

from rewardkit.engine.card import RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.errors import InputError
from rewardkit.media.batch import Batch, Sample
from rewardkit.rewards.motion import Pixels, degree_of, eighths, frames_of, smoothness_of
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from rewardkit.engine.loader import Loader

WEIGHTS = PinnedFile(
    name="raft.c-t-v1",
    repo="download.pytorch.org/models",
    host="torch",
    files=("raft_large_C_T_V1-22a6c225.pth",),
    licence="BSD-3-Clause",
)
# VBench's number of refinements.
UPDATES = 20
DEGREE, SMOOTHNESS = "dynamic-degree.raft", "motion-smoothness.raft"
_VBENCH = "https://github.com/Vchitect/VBench/blob/45e79ec14e69a2187202c675d2dbce1a71843d53/vbench/"


def _card(name: str, summary: str, unit: str, highest: float | None, *notes: str) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("video",),
        unit=unit,
        range=(0.0, highest),
        weights=(WEIGHTS,),
        paper="https://arxiv.org/abs/2311.17982",
        upstream=f"{_VBENCH}{name.partition('.')[0].replace('-', '_')}.py",
        trained_on=("FlyingChairs", "FlyingThings3D"),
        notes=(
            *notes,
            "RAFT is torchvision's raft_large with the weights C_T_V1, which torchvision ported "
            "from RAFT's authors; VBench loads those authors' raft-things.pth. The two files "
            "have not been compared, so the number is not called VBench's. That file is accepted "
            "too: --weights raft.c-t-v1=raft-things.pth.",
            "Computed in float32 whatever the data type, two frames at a time. Meant for a GPU. "
            "Memory grows with the square of the number of pixels: 0.2 GB for frames of 832x480, "
            "1.1 GB for 1280x720. Sides of frames are at least 121 pixels.",
        ),
    )


@register(
    _card(
        DEGREE,
        "The fastest parts of the video move faster; above 1, VBench calls the video dynamic.",
        "multiples of VBench's threshold",
        None,
        "As dynamic-degree, with RAFT's flow for DIS: dynamic-degree.raft@1 is VBench's verdict, "
        "but for the weights.",
        "A still video scores about 0. A shaking camera scores as high as a moving subject.",
    ),
    _card(
        SMOOTHNESS,
        "Motion is even: every second frame matches the interpolation of its neighbours.",
        "1 - mean absolute error / 255",
        1.0,
        "As motion-smoothness, with RAFT's flow for DIS; VBench interpolates with AMT-S, so the "
        "numbers are not VBench's.",
        "A still video scores about 1, the maximum: alone it is a reward for freezing.",
    ),
)
@final
class RaftMotion(Reward, Extractor):
    """A number of one clip, measured on RAFT's flow."""

    def __init__(self, card: RewardCard, flow: RaftFlow) -> None:
        self.card = card
        self.extractor = self
        self._flow = flow

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads RAFT once for both rewards."""
        return cls(card, loader.shared((RaftFlow, WEIGHTS), lambda: RaftFlow(loader)))

    def prepare(self, sample: Sample) -> Pixels:
        """The frames that are looked at, `[F, H, W, 3]`.

        Raises:
            InputError: they are too few, or too small.
        """
        name, clip = self.card.name, sample.clip
        frames = eighths(name, clip) if name == DEGREE else frames_of(name, clip, 3)
        self._flow.check(name, frames)
        return frames

    def features(self, prepared: Sequence[Pixels]) -> list[float]:
        """The number of each clip."""
        if self.card.name == DEGREE:  # VBench counts the flow of the padding too
            return [degree_of(frames, self._flow.padded) for frames in prepared]
        return [smoothness_of(frames, self._flow) for frames in prepared]

    def score(self, batch: Batch, features: list[float]) -> torch.Tensor:
        """The numbers, float32 `[B]`."""
        import torch

        return torch.tensor(features, dtype=torch.float32)


@final
class RaftFlow:
    """RAFT's optical flow between two frames."""

    def __init__(self, loader: Loader) -> None:
        from torchvision.models.optical_flow import raft_large

        from rewardkit.weights.nets.raft import renamed, tiny_raft

        build = tiny_raft if loader.tiny else raft_large
        # Positions of pixels need float32.
        self._network = loader.module(build, WEIGHTS, renamed).to(loader.device).float()
        self._device = loader.device
        self._updates = 2 if loader.tiny else UPDATES
        # The coarsest scale has two of the patches of 8 pixels that flow is estimated for.
        self._least = 32 if loader.tiny else 128

    def check(self, name: str, frames: Pixels) -> None:
        """Refuses frames that are too small for the coarsest scale of RAFT.

        Raises:
            InputError: the message is about the reward `name`.
        """
        height, width = frames.shape[1:3]
        if min(height, width) <= self._least - 8:
            raise InputError(
                f"{name} needs frames of at least {self._least - 7}x{self._least - 7} pixels for "
                f"RAFT; this video is {width}x{height}"
            )

    def __call__(self, first: Pixels, second: Pixels) -> NDArray[np.floating]:
        """The flow from one frame `[H, W, 3]` to another, `[H, W, 2]`, in pixels."""
        height, width = first.shape[:2]
        top, left = -height % 8 // 2, -width % 8 // 2
        return self.padded(first, second)[top : top + height, left : left + width]

    def padded(self, first: Pixels, second: Pixels) -> NDArray[np.floating]:
        """The same with the flow of the border that makes both sides multiples of 8 pixels."""
        import numpy as np
        import torch
        from torch.nn.functional import pad

        height, width = first.shape[:2]
        down, right = -height % 8, -width % 8
        top, left = down // 2, right // 2
        frames = torch.from_numpy(np.stack([first, second])).to(self._device)
        levels = 2 * (frames.permute(0, 3, 1, 2).float() / 255) - 1
        wider = pad(levels, (left, right - left, top, down - top), mode="replicate")
        flow = self._network(wider[:1], wider[1:], num_flow_updates=self._updates)[-1][0]
        return np.asarray(flow.permute(1, 2, 0).numpy(force=True), dtype=np.float32)
