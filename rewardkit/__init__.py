"""What is good? Pictures and clips -> scores, by any reward of one registry.

    rewardkit.create("clip.vit-l-14")(images, prompts)            -> float32 [B]
    rewardkit.scorer("clip+sharpness")(images, prompts)           -> {name: float32 [B]}
    rewardkit.score_folder("photos/", "clip+sharpness", output="scores.parquet")
    rewardkit.read_scores("scores.parquet")                       -> DataFrame
    rewardkit.compare("before.parquet", "after.parquet").frame()  -> DataFrame

This package imports none of its neighbours. To add a reward, copy a file of
`rewardkit/rewards/`; to add one from another distribution, see `rewardkit.engine.registry`.
Importing it loads no torch: weight is paid when a reward is created.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewardkit.engine.card import RewardCard as RewardCard
    from rewardkit.engine.extractor import Extractor as Extractor
    from rewardkit.engine.extractor import RawMedia as RawMedia
    from rewardkit.engine.folder import score_folder as score_folder
    from rewardkit.engine.loaded import create as create
    from rewardkit.engine.loaded import scorer as scorer
    from rewardkit.engine.loader import Loader as Loader
    from rewardkit.engine.registry import list_rewards as list_rewards
    from rewardkit.engine.registry import register as register
    from rewardkit.engine.reward import GroupReward as GroupReward
    from rewardkit.engine.reward import MeasuredReward as MeasuredReward
    from rewardkit.engine.reward import Reward as Reward
    from rewardkit.errors import RewardKitError as RewardKitError
    from rewardkit.errors import RewardUnavailable as RewardUnavailable
    from rewardkit.errors import ScoringError as ScoringError
    from rewardkit.media.batch import Batch as Batch
    from rewardkit.media.batch import Clip as Clip
    from rewardkit.media.batch import Sample as Sample
    from rewardkit.media.clips import read_clip as read_clip
    from rewardkit.records.comparing import compare as compare
    from rewardkit.records.frames import read_scores as read_scores
    from rewardkit.service import Endpoint as Endpoint
    from rewardkit.weights.pins import PinnedFile as PinnedFile
    from rewardkit.weights.pins import Snapshot as Snapshot

_HOME = {
    "RewardCard": "engine.card",
    "Extractor": "engine.extractor",
    "RawMedia": "engine.extractor",
    "score_folder": "engine.folder",
    "Loader": "engine.loader",
    "list_rewards": "engine.registry",
    "register": "engine.registry",
    "GroupReward": "engine.reward",
    "MeasuredReward": "engine.reward",
    "Reward": "engine.reward",
    "create": "engine.loaded",
    "scorer": "engine.loaded",
    "RewardKitError": "errors",
    "RewardUnavailable": "errors",
    "ScoringError": "errors",
    "Batch": "media.batch",
    "Clip": "media.batch",
    "Sample": "media.batch",
    "read_clip": "media.clips",
    "compare": "records.comparing",
    "read_scores": "records.frames",
    "Endpoint": "service",
    "PinnedFile": "weights.pins",
    "Snapshot": "weights.pins",
}
__all__ = sorted(_HOME)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    # Public names are looked up on first use: `import rewardkit` and `--help` stay light.
    if name not in _HOME:
        raise AttributeError(f"module 'rewardkit' has no attribute {name!r}")
    return getattr(import_module(f"rewardkit.{_HOME[name]}"), name)
