"""Motion of a video by VBench's rules, without VBench's networks: flicker, motion, smoothness.

Huang et al. 2023, https://arxiv.org/abs/2311.17982. Where VBench estimates optical flow with RAFT
or a frame with AMT-S, this file uses OpenCV's DIS flow (Kroeger et al. 2016,
https://arxiv.org/abs/1603.03590): classical, deterministic, on the CPU.
Shapes: F frames, H, W, channels last, as OpenCV has them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from rewardkit.engine.card import RewardCard
from rewardkit.engine.frames import refuse_repeats
from rewardkit.engine.registry import register
from rewardkit.engine.reward import MeasuredReward
from rewardkit.errors import InputError
from rewardkit.media.batch import Clip, Medium
from rewardkit.rewards.pixels import grey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# 8-bit frames [F, H, W, 3], one of them [H, W, 3], or a grey one [H, W].
Pixels: TypeAlias = "NDArray[np.uint8]"
# From two frames [H, W, 3] to [H, W, 2]: how far each pixel of the first moves to the second.
Flow: TypeAlias = "Callable[[Pixels, Pixels], NDArray[np.floating]]"

# Two patches of DIS; OpenCV refuses frames of less than one.
MIN_FLOW_SIDE = 16
_VBENCH = "https://github.com/Vchitect/VBench/blob/45e79ec14e69a2187202c675d2dbce1a71843d53/vbench/"


def temporal_stability(clip: Clip) -> float:
    """1 - mean |f_t - f_{t+1}| / 255 over all pixels, channels and pairs of neighbouring frames.

    Source: VBench `temporal_flickering.py`.

    Raises:
        InputError: fewer than two frames.
    """
    import numpy as np

    frames = frames_of("temporal-stability", clip, 2)
    changes = [np.abs(a.astype(np.int16) - b).mean() for a, b in pairwise(frames)]
    return 1 - float(np.mean(changes)) / 255


def dynamic_degree(clip: Clip, name: str = "dynamic-degree") -> float:
    """How far the fastest 5 % of a video move in 1/8 s, in units of VBench's threshold.

    Every n-th frame is kept, n = max(1, round(fps / 8)), which is all of them below 12 fps; then
    `fastest` of the flow between neighbours, then `degree` of those speeds.

    Source: VBench `dynamic_degree.py`, with DIS for RAFT.

    Raises:
        InputError: fewer than two frames are kept, or frames too small for DIS; the message is
            about the reward `name`.
    """
    frames = eighths(name, clip)
    return degree_of(frames, flow_of(name, frames))


def eighths(name: str, clip: Clip) -> Pixels:
    """Every n-th frame, n = max(1, round(fps / 8)): at most about eight a second.

    Raises:
        InputError: fewer than two are left; the message is about the reward `name`.
    """
    step = max(1, round(clip.fps / 8))
    return frames_of(name, clip, step + 1)[::step]


def degree_of(frames: Pixels, flow: Flow) -> float:
    """`degree` of the `fastest` motion between neighbouring frames `[F, H, W, 3]`."""
    speeds = [fastest(flow(first, second)) for first, second in pairwise(frames)]
    return degree(speeds, min(frames.shape[1:3]))


def fastest(flow: NDArray[np.floating]) -> float:
    """Mean length of the longest 5 % of the vectors of `flow` `[H, W, 2]`, in pixels."""
    import numpy as np

    lengths = np.linalg.norm(flow, axis=-1).ravel()
    count = int(lengths.size * 0.05)
    return float(np.partition(lengths, -count)[-count:].mean())


def degree(speeds: Sequence[float], short_side: int) -> float:
    """The k-th highest of the speeds of neighbouring frames, over 6 pixels per 256 of `short_side`.

    k = round(n / 4) of the n = len(speeds) + 1 frames, at least 1. VBench says that a video moves
    where at least k speeds exceed that threshold, which is where this is above 1. For n = 2 VBench
    has k = 0, by which every video moves.
    """
    needed = max(1, round((len(speeds) + 1) / 4))
    return sorted(speeds, reverse=True)[needed - 1] / (6.0 * short_side / 256)


def motion_smoothness(clip: Clip) -> float:
    """1 - mean |predicted - actual| / 255 over the odd frames of a video.

    Each odd frame is predicted by `middle` from the two beside it; of an even number of frames
    the last has no frame after it and is left out.

    Source: VBench `motion_smoothness.py`, with warping along DIS flow for AMT-S.

    Raises:
        InputError: fewer than three frames, or frames too small for DIS.
    """
    frames = frames_of("motion-smoothness", clip, 3)
    return smoothness_of(frames, flow_of("motion-smoothness", frames))


def smoothness_of(frames: Pixels, flow: Flow) -> float:
    """How well `middle` predicts the odd ones of frames `[F, H, W, 3]`."""
    import numpy as np

    kept = frames[::2]
    misses = [
        np.abs(middle(before, after, flow) - actual).mean()
        for before, after, actual in zip(kept, kept[1:], frames[1::2], strict=False)
    ]
    return 1 - float(np.mean(misses)) / 255


def middle(before: Pixels, after: Pixels, flow: Flow) -> NDArray[np.floating]:
    """The frame half way between two frames `[H, W, 3]`, if everything moves straight and evenly.

    Half the motion at a pixel p of the middle frame is h = (F_01(p) - F_10(p)) / 4, from the flows
    forth and back; the frame is (before(p - h) + after(p + h)) / 2, bilinear, pixels beyond the
    border repeating it. Using both flows makes it the same for the video played backwards.

    Source: Jiang et al. 2018, https://arxiv.org/abs/1712.00080, equation 4 at t = 1/2.
    """
    import cv2
    import numpy as np

    half = (flow(before, after) - flow(after, before)) / 4
    height, width = before.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))

    def warp(frame: Pixels, shift: NDArray[np.floating]) -> NDArray[np.floating]:
        levels = frame.astype(np.float32)  # of 8-bit levels remap would return rounded ones
        there = x + shift[..., 0], y + shift[..., 1]
        warped = cv2.remap(levels, *there, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, dtype=np.float32)

    return (warp(before, -half) + warp(after, half)) / 2


def frames_of(name: str, clip: Clip, at_least: int) -> Pixels:
    """The frames of a clip.

    Args:
        name: of the reward, for messages.
        clip: the clip.
        at_least: how many frames the reward needs.

    Raises:
        InputError: it has fewer, or sampling has repeated some.
    """
    refuse_repeats(clip)
    if len(clip.frames) < at_least:
        raise InputError(
            f"{name} compares frames and needs at least {at_least} of a video of {clip.fps:g} "
            f"frames per second; this one has {len(clip.frames)}"
        )
    return clip.frames.permute(0, 2, 3, 1).numpy(force=True)


def flow_of(name: str, frames: Pixels) -> Flow:
    """DIS optical flow for frames of this size; it has buffers, so each call of ours makes one.

    Raises:
        InputError: the frames are too small.
    """
    import cv2
    import numpy as np

    height, width = frames.shape[1:3]
    short = min(height, width)
    if short < MIN_FLOW_SIDE:
        raise InputError(
            f"{name} needs frames of at least {MIN_FLOW_SIDE}x{MIN_FLOW_SIDE} pixels for optical "
            f"flow; this video is {width}x{height}"
        )
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The preset computes at half resolution. Where the pyramid of a small frame does not reach
    # down to it, OpenCV guesses other parameters and may read beyond its buffers and crash.
    dis.setFinestScale(1 if short >= 64 else 0)

    def flow(first: Pixels, second: Pixels) -> NDArray[np.floating]:
        # None is "no first guess", which OpenCV's type stub has forgotten.
        return np.asarray(dis.calc(grey(first), grey(second), None), dtype=np.float32)  # type: ignore[call-overload]

    return flow


def _card(
    name: str, summary: str, unit: str, highest: float | None, upstream: str, *notes: str
) -> RewardCard:
    return RewardCard(
        name=name,
        summary=summary,
        inputs=("video",),
        unit=unit,
        range=(0.0, highest),
        paper="https://arxiv.org/abs/2311.17982",
        upstream=_VBENCH + upstream,
        notes=notes,
    )


_FORMULAS = {
    "temporal-stability": temporal_stability,
    "dynamic-degree": dynamic_degree,
    "motion-smoothness": motion_smoothness,
}


@register(
    _card(
        "temporal-stability",
        "Neighbouring frames differ less: no flicker, but no motion either.",
        "1 - mean absolute difference / 255",
        1.0,
        "temporal_flickering.py",
        "Equal to VBench's temporal flickering.",
        "A still video scores 1.0, the maximum: alone it is a reward for freezing. VBench scores "
        "only videos that are meant to stand still.",
        "Counts every frame as it is: the same motion at a higher frame rate scores higher.",
    ),
    _card(
        "dynamic-degree",
        "The fastest parts of the video move faster; above 1, VBench calls the video dynamic.",
        "multiples of VBench's threshold",
        None,
        "dynamic_degree.py",
        "The threshold is 6 pixels per 256 of the short side, between frames 1/8 s apart.",
        "dynamic-degree@1 is VBench's verdict on the video, with DIS optical flow for RAFT; other "
        "thresholds, and the graded value, are available too.",
        "Own calibration at 256x256, 8 translated textures: the top 5 % of DIS flow is 1.5 to 8 % "
        "too long on average for 1 to 20 pixels (at 6 pixels, the threshold, 3.5 %, single "
        "textures 2 to 7 %), 20 % for a quarter pixel; over 32 pixels it is unreliable and too "
        "short.",
        "Without texture, flow follows noise: a flat grey video with noise of one "
        "level scores about 2.",
        "A still video scores 0. A shaking camera scores as high as a moving subject.",
        "A video of less than 8 frames per second is measured from frame to frame, over more than "
        "1/8 s.",
        "Where just two frames are left at 8 a second VBench calls every video dynamic; here their "
        "one motion decides.",
    ),
    _card(
        "motion-smoothness",
        "Motion is even: every second frame matches the interpolation of its neighbours.",
        "1 - mean absolute error / 255",
        1.0,
        "motion_smoothness.py",
        "VBench's rule with frames interpolated along DIS optical flow for AMT-S, so the numbers "
        "are not VBench's.",
        "A still video scores 1.0, the maximum: alone it is a reward for freezing.",
        "Flicker, noise and cuts cost as much as uneven motion; so does motion too fast for the "
        "flow, over about a twelfth of the short side between frames.",
    ),
    # VBench's name of it; a name of ours says what more means.
    short_names={"temporal-flickering": "temporal-stability"},
)
class MotionStatistic(MeasuredReward):
    """The function of this module that the card is named after."""

    def measure(self, medium: Medium) -> float:
        """The value of that function for one video."""
        assert isinstance(medium, Clip)
        return _FORMULAS[self.card.name](medium)
