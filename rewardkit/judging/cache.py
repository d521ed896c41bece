"""Answers that are kept on disk: the same question about the same pixels costs one call."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import final

from rewardkit.errors import RewardKitError
from rewardkit.judging.completion import Completion
from rewardkit.records.documents import read_json
from rewardkit.records.storage import write_json
from rewardkit.weights.memory import home

_log = logging.getLogger("rewardkit")


@final
class AnswerCache:
    """One file per answer in `$HF_HOME/rewardkit/judge`; deleting the folder empties it.

    A damaged file counts as missing. A folder that cannot be written keeps nothing, with a warning.
    """

    def __init__(self) -> None:
        self.folder = home() / "judge"
        self._warned = False

    def get(self, key: str) -> Completion | None:
        """The answer under a key, a checksum; None where there is none."""
        try:
            return Completion.of(read_json(self._file(key)))
        except (OSError, RewardKitError):
            return None

    def put(self, key: str, answer: Completion) -> None:
        """Keeps an answer: the file is whole or absent."""
        try:
            write_json(self._file(key), answer.model_dump(mode="json"))
        except RewardKitError as error:
            if not self._warned:
                self._warned = True
                _log.warning(f"answers of the judge are not kept for another run: {error}")

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"
