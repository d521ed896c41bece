"""Motion that is neither frozen nor shaken: one number, against two ways to cheat.

`temporal-stability` and `motion-smoothness` are highest for a still video, and `dynamic-degree`
does not tell a moving subject from a shaking camera: trained on alone, each rewards cheating. What
that looks like, for nine frames of a texture of 96x96 pixels at 8 a second:

                          motion-quality  dynamic-degree  motion-smoothness  temporal-stability
    drifts 4 px a frame             1.00            1.84              0.998               0.943
    stands still                    0.00            0.00              1.000               1.000
    goes 4 px to and fro            0.00            1.82              0.943               0.943
    jumps up to 8 px at random      0.30            3.75              0.950               0.932
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from rewardkit.engine.card import RewardCard
from rewardkit.engine.registry import register
from rewardkit.engine.reward import MeasuredReward
from rewardkit.media.batch import Clip, Medium
from rewardkit.rewards.motion import dynamic_degree, flow_of, frames_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "motion-quality"


def motion_quality(clip: Clip) -> float:
    """min(1, dynamic degree) * steadiness: 0 for a frozen and for a shaking video, at most 1.

    The dynamic degree counts up to VBench's threshold, so that more speed is worth nothing beyond
    it. The steadiness is that of the flow between all neighbouring frames: of frames left out, a
    shake could hide between those that are kept.

    Raises:
        InputError: fewer than three frames, or frames too small for optical flow.
    """
    frames = frames_of(NAME, clip, 3)
    moves = min(1.0, dynamic_degree(clip, NAME))
    if moves == 0:
        return 0.0
    flow = flow_of(NAME, frames)
    flows = [flow(first, second) for first, second in pairwise(frames)]
    return moves * steadiness(flows)


def steadiness(flows: Sequence[NDArray[np.floating]]) -> float:
    """1 - sum |F_{t+1}(p + F_t(p)) - F_t(p)| / sum (|F_{t+1}(p + F_t(p))| + |F_t(p)|).

    Both sums are over pixels p and pairs of flows in a row: how much of the motion of a point is
    kept from one frame to the next. 1 where everything goes on as it went; 0 where everything turns
    back, or stops and starts; 0 too where nothing moves.

    Args:
        flows: from each frame to the next, `[H, W, 2]`, in pixels, at least two.
    """
    import cv2
    import numpy as np

    height, width = flows[0].shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    changed = moved = 0.0
    for now, later in pairwise(flows):
        there = x + now[..., 0], y + now[..., 1]
        after = cv2.remap(later, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        changed += float(np.linalg.norm(after - now, axis=-1).sum())
        moved += float(np.linalg.norm(after, axis=-1).sum() + np.linalg.norm(now, axis=-1).sum())
    return 1 - changed / moved if moved > 0 else 0.0


@register(
    RewardCard(
        name=NAME,
        summary="Things move, and go on as they moved: neither frozen nor shaking.",
        inputs=("video",),
        unit="fraction",
        range=(0.0, 1.0),
        notes=(
            "Own definition: min(1, dynamic-degree) * steadiness, with DIS optical flow.",
            "Steadiness is the share of the motion of points that is kept from one frame to the "
            "next: 1 for even motion in any direction; 1 - s / v for v pixels per frame with a "
            "shake of s < v; 0 for a pure shake.",
            "A frozen video scores 0, and so does one that stops in every second frame, as where "
            "frames were doubled to raise the rate.",
            "Jumps that have nothing to do with one another, as of noise or of a camera shaken at "
            "random, score about 0.3.",
            "Motion beyond VBench's threshold for a dynamic video is not rewarded.",
            "It sees motion alone: brightness, colours and what is shown hardly count. Use it "
            "beside a reward of looks, or as a reward that a run is evaluated on and not trained "
            "on: it falls when a model learns to freeze or to shake its videos.",
            "Flow over 32 pixels per frame, cuts, and surfaces without texture are unreliable.",
        ),
    )
)
class MotionQuality(MeasuredReward):
    """`motion_quality` of a clip."""

    def measure(self, medium: Medium) -> float:
        """The value for one video."""
        assert isinstance(medium, Clip)
        return motion_quality(medium)
