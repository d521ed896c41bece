"""Which frames of a clip are taken, by a rate or by a number; pure functions of their times."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from rewardkit.errors import UsageError

# In frames: times and rates are rounded floats, and a choice must not hang on their last digits.
_SLACK = 1e-6


def sample_indices(
    times: Sequence[float], fps: float | None = None, count: int | None = None
) -> list[int]:
    """Which frames to take of a clip whose frames begin at `times`, ascending, in seconds.

    By `fps`: for k = 0, 1, ... the frame nearest to `times[0] + k / fps`, the earlier one of two
    equally near (to a millionth of their distance), up to the last frame's time. By `count`:
    `round(i (n - 1) / (count - 1))`, both ends included, half to even
    (`numpy.linspace(0, n - 1, count).round()`). Both repeat frames where they ask for more than
    there are. By neither: all of them.
    """
    number, last = sample_count(times, fps, count), len(times) - 1
    if count is not None:
        return [round(i * last / (count - 1)) for i in range(count)] if count > 1 else [0]
    if fps is None:
        return list(range(number))
    return [_nearest(times, times[0] + k / fps) for k in range(number)]


def sample_count(times: Sequence[float], fps: float | None = None, count: int | None = None) -> int:
    """Number of frames that `sample_indices` takes, without making their list.

    A time stamp or a rate that is far off gives billions: check here first.
    """
    check_choice(fps, count)
    if count is not None:
        return count
    if fps is None:
        return len(times)
    # The last of a whole number of steps must not be lost to rounding: 1 / 49 * 49 = 0.999...
    # Bounded, since an infinite product has no whole number.
    return math.floor(min((times[-1] - times[0]) * fps + _SLACK, 2.0**63)) + 1


def check_choice(fps: float | None, count: int | None) -> None:
    """Refuses a choice of frames that is none, before any clip is opened.

    Raises:
        UsageError: both are given, or one is not a positive, finite number.
    """
    if fps is not None and count is not None:
        raise UsageError("frames are chosen by rate (fps) or by number (frames); both were given")
    if fps is not None and not 0 < fps < math.inf:
        raise UsageError(f"fps is a positive number of frames per second; {fps!r} was given")
    if count is not None and count < 1:
        raise UsageError(f"the number of frames is at least 1; {count!r} was given")


def _nearest(times: Sequence[float], target: float) -> int:
    right = bisect.bisect_left(times, target)
    if right == len(times):
        return right - 1
    # Half way between two frames is half way whatever the last digits of their times.
    slack = _SLACK * (times[right] - times[right - 1])
    if right and target - times[right - 1] <= times[right] - target + slack:
        return right - 1
    return right
