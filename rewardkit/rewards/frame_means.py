"""Picture rewards on clips: the mean over frames, two of each second.

`hps.frames` stands for the frames of the reward that `hps` stands for; results record which.
"""

from __future__ import annotations

from rewardkit.engine.frames import FrameMean, frame_mean_card
from rewardkit.engine.registry import entry, register

# These register the rewards that are looked up below.
from rewardkit.rewards import clip, hps, laion_aesthetic, ocr, pickscore  # noqa: F401

FPS = 2.0
PICTURES = {
    "clip.frames": "clip.vit-l-14",
    "hps.frames": "hps.v2.1",
    "laion-aesthetic.frames": "laion-aesthetic.v2",
    "ocr.frames": "ocr.similarity",
    "pickscore.frames": "pickscore.v1",
}

for _short, _picture in PICTURES.items():
    _card = frame_mean_card(entry(_picture).card, FPS)
    register(_card, short_names={_short: _card.name})(FrameMean)
