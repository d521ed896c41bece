"""A run's folder: what was asked, what happened, and what came of it.

config.json            the resolved configuration
rewardkit.json         the RunCard: base model, rewards trained on, prompts' checksum, versions
metrics.jsonl          one line per step, and one per evaluation
samples/               sheets of fixed prompts and seeds
checkpoints/           what --resume goes on from
model/                 the trained weights, as plain diffusers loads them
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from grpo import checkpoint
from grpo.config import Config
from grpo.settings import explain
from rewardkit.errors import InputError, UsageError
from rewardkit.records.disk import writing
from rewardkit.records.storage import atomic_write, first_difference, write_json

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Run:
    """One run's folder, opened by one process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_path = folder / "config.json"
        self.card = folder / "rewardkit.json"
        self.metrics = folder / "metrics.jsonl"
        self.samples = folder / "samples"
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.tensorboard = folder / "tensorboard"
        self._events: SummaryWriter | None = None

    @classmethod
    def open(cls, folder: Path, config: Config, resume: bool) -> Run:
        """The folder of a new run, or of one to go on with; nothing is written before `begin`.

        Raises:
            UsageError: it holds a run and `resume` was not asked for, or a run of another
                configuration.
        """
        run = cls(folder)
        if run.config_path.exists():
            if not resume:
                raise UsageError(
                    f"{folder} holds a run already: go on with --resume, or name another --out"
                )
            run._must_be(config)
        # Hidden files are those of the system, or of a process that was killed while it wrote.
        elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no run: name another --out")
        return run

    def begin(self, config: Config, card: dict[str, Any]) -> None:
        """Makes the folder a run's. Called once all is loaded: what failed before leaves none."""
        write_json(self.config_path, config.model_dump(mode="json"))
        write_json(self.card, card)

    def read_config(self) -> Config:
        """The configuration the run was started with.

        Raises:
            UsageError: there is no run in the folder.
            InputError: its file is damaged.
        """
        try:
            return Config.model_validate_json(self.config_path.read_bytes())
        except FileNotFoundError:
            raise UsageError(f"{self.folder} holds no run: config.json is missing") from None
        except ValidationError as error:
            raise InputError(f"{self.config_path}: {explain(error, {})}") from error

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint; None before the first."""
        paths = checkpoint.found(self.checkpoints)
        return checkpoint.load(paths[-1]) if paths else None

    def begin_log(self, steps: int) -> None:
        """Removes what was logged of steps after a checkpoint: they will be made again.

        Args:
            steps: of the checkpoint; 0 where there is none, and even what was measured before the
                first step will be measured again.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._events = SummaryWriter(str(self.tensorboard), purge_step=steps + bool(steps))
        if not self.metrics.exists():
            return
        lines = self.metrics.read_text("utf-8").splitlines(keepends=True)
        kept = []
        for line in lines:
            try:
                if 0 < steps >= json.loads(line)["step"]:
                    kept.append(line)
            except ValueError:  # the process was killed while it wrote this line
                continue
        with atomic_write(self.metrics) as temporary:
            temporary.write_text("".join(kept), "utf-8")

    def log(self, figures: dict[str, Any]) -> None:
        """Appends one line to metrics.jsonl, and the same to TensorBoard's events.

        Raises:
            InputError: it cannot be written.
        """
        assert self._events is not None, "begin_log comes first"
        line = json.dumps(figures, allow_nan=False) + "\n"
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise InputError(
                f"cannot write {self.metrics}: {error.strerror}. Make room for it, and go on with "
                "--resume"
            ) from error
        with writing(self.tensorboard):
            for name, value in figures.items():
                if name != "step":
                    self._events.add_scalar(name, value, figures["step"])
            self._events.flush()

    def _must_be(self, config: Config) -> None:
        """Refuses another configuration than the run's, but for what may change on the way."""
        free = {"evaluation", "checkpoint"}
        if config.optim.decay == "constant":  # else the rate of every step depends on the last
            free.add("steps")
        before, after = (
            {k: v for k, v in one.model_dump(mode="json").items() if k not in free}
            for one in (self.read_config(), config)
        )
        different = first_difference(before, after)
        if different is not None:
            raise UsageError(
                f"{self.folder} holds a run whose {different.key} is {different.before}, not "
                f"{different.after}. Go on with --resume alone, or name another --out"
            )
