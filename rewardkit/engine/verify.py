"""PublishedScore scores, computed again: are the numbers of this installation upstream's?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rewardkit.devices import pick_device
from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.loaded import LoadedReward
from rewardkit.engine.loader import Loader, check_overrides
from rewardkit.engine.registry import entry
from rewardkit.errors import RewardKitError, UsageError, describe
from rewardkit.media.images import read_image
from rewardkit.media.prompts import PACKAGE, in_package
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.fetch import fetch
from rewardkit.weights.pins import Located


@dataclass(frozen=True)
class Check:
    """One published score beside ours.

    Attributes:
        reward: its name.
        published: what upstream says.
        ours: our score; None where it could not be computed.
        error: why it could not.
    """

    reward: str
    published: PublishedScore
    ours: float | None = None
    error: str | None = None

    @property
    def delta(self) -> float | None:
        """Ours minus the published score."""
        return None if self.ours is None else self.ours - self.published.value

    @property
    def verdict(self) -> Literal["ok", "beyond tolerance", "not computed"]:
        """What became of the check."""
        if self.delta is None:
            return "not computed"
        return "ok" if abs(self.delta) <= self.published.tolerance else "beyond tolerance"


@dataclass(frozen=True)
class Verification:
    """The checks of some rewards, and what they were computed with.

    Attributes:
        checks: one per published score.
        weights: the files that were loaded, by name.
        device: where the networks ran.
    """

    checks: list[Check]
    weights: dict[str, Located]
    device: str

    @property
    def failed(self) -> list[Check]:
        """The checks that are not ok."""
        return [check for check in self.checks if check.verdict != "ok"]


def verify(
    cards: Sequence[RewardCard],
    *,
    device: str = "auto",
    weights: Mapping[str, Path] | None = None,
    test_data: Path | None = None,
) -> Verification:
    """Computes every published score of `cards`, in float32.

    Args:
        cards: of the rewards to check.
        device: see `rewardkit.create`.
        weights: local files by name.
        test_data: a folder with images, which are found by their checksums; missing ones are
            downloaded.

    Raises:
        UsageError: there is no such device or folder.
    """
    check_overrides(weights or {}, cards)
    known = _by_checksum(test_data, cards) if test_data is not None else {}
    checks: list[Check] = []
    located: dict[str, Located] = {}
    device = str(pick_device(device))
    for card in cards:
        # A loader each: what one holds stays in memory, and all networks together may not fit.
        loader = Loader(device, weights=weights)
        try:
            reward = LoadedReward(entry(card.name).cls.load(card, loader))
        except RewardKitError as error:
            checks += [Check(card.name, p, error=describe(error)) for p in card.published]
        else:
            checks += [_check(reward, published, known) for published in card.published]
        located |= loader.located
    return Verification(checks, located, device)


def _check(reward: LoadedReward, published: PublishedScore, known: Mapping[str, Path]) -> Check:
    name = reward.card.name
    try:
        path = known.get(published.sha256) or _find(published)
        (score,) = reward([read_image(path)], [published.prompt]).tolist()
    except RewardKitError as error:
        return Check(name, published, error=describe(error))
    return Check(name, published, ours=score)


def _find(published: PublishedScore) -> Path:
    if published.url.startswith(PACKAGE):
        return in_package(published.url)
    return fetch(published.url, published.sha256)


def _by_checksum(folder: Path, cards: Sequence[RewardCard]) -> dict[str, Path]:
    """The files of a folder that may be published pictures: those with the suffix of one."""
    if not folder.is_dir():
        raise UsageError(f"REWARDKIT_TEST_DATA names {folder}, which is not a folder")
    suffixes = {Path(p.picture).suffix for card in cards for p in card.published}
    files = (path for path in sorted(folder.rglob("*")) if path.suffix in suffixes)
    return {sha256_file(path): path for path in files if path.is_file()}
