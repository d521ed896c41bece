"""The motion score of data-juicer as a function of one's own: a reward without registration.

Source: https://github.com/datajuicer/data-juicer at 1dc20a58fa685af93c18dfa7c7900c093029af79,
data_juicer/ops/filter/video_motion_score_filter.py.
"""

from itertools import pairwise

import cv2
import numpy as np

FPS = 2.0


def motion(batch):
    """The mean length of Farneback's flow between frames 1/2 s apart, in pixels."""
    return [_motion(clip.frames, round(clip.fps / min(FPS, clip.fps))) for clip in batch.media]


def _motion(frames, step):
    # The first two frames are neighbours; from the second on it goes to every step-th.
    chosen = frames[[0, 1, *range(step, len(frames), step)]] if step > 1 else frames
    grey = [cv2.cvtColor(f.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2GRAY) for f in chosen]
    flows = (
        cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        for first, second in pairwise(grey)
    )
    return float(np.mean([np.linalg.norm(flow, axis=-1).mean() for flow in flows]))
