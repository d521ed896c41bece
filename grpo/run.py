"""A run's folder: what was asked, what happened, and what came of it.

config.json            the resolved configuration, its paths absolute
rewardkit.json         the RunCard: base model, rewards trained on, prompts' checksum, versions
metrics.jsonl          one line per step, and one per evaluation
samples/               sheets of fixed prompts and seeds
checkpoints/           what --resume goes on from
model/                 the trained weights, as plain diffusers loads them
.lock                  locked by the process that trains
"""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, final

from pydantic import ValidationError

from grpo import checkpoint
from grpo.config.fields import Config
from grpo.config.settings import explain
from grpo.places import anchored
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.records.differences import first_difference
from rewardkit.records.disk import writing
from rewardkit.records.documents import parse_json, read_json
from rewardkit.records.locks import lock
from rewardkit.records.storage import atomic_write, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch.utils.tensorboard import SummaryWriter


# What a killed writer of the run's files leaves: those of `atomic_write`.
_LEFT = re.compile(r"\.(config|rewardkit|metrics|step-\d+)\.[0-9a-f]{8}\.(json|jsonl|pt|png)")


@final
class Run:
    """One run's folder. One process trains in it at a time; any may read it.

    Leaving a `with` block, or `close`, lets another process train in it.
    """

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
        self._lock: BinaryIO | None = None

    @classmethod
    def open(cls, folder: Path, config: Config, resume: bool) -> Run:
        """The folder of a new run, or of one to go on with; a new one is not made before `begin`.

        Raises:
            UsageError: it holds a run and `resume` was not asked for, or a run of another
                configuration.
            InputError: another process trains in it.
        """
        run = cls(folder)
        if run.config_path.exists():
            if not resume:
                raise UsageError(
                    f"{folder} holds a run already: go on with --resume, or name another --out"
                )
            run._take()
            try:
                run._must_be(config)
            except BaseException:
                run.close()
                raise
        # Hidden files are those of the system, or of a process that was killed while it wrote.
        elif folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no run: name another --out")
        return run

    def begin(self, config: Config, card: dict[str, Any]) -> None:
        """Makes the folder a run's. Called once all is loaded: what failed before leaves none.

        Raises:
            InputError: another process has begun a run in it meanwhile, or it cannot be written.
        """
        if self._lock is None:
            self._take()
            if self.config_path.exists():
                raise InputError(
                    f"{self.folder} holds a run that another process began meanwhile: name another "
                    "--out"
                )
        self._remove_leftovers()
        write_json(self.config_path, config.model_dump(mode="json"))
        write_json(self.card, card)

    def close(self) -> None:
        """Lets another process train in the folder."""
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        """The run itself; leaving the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the run."""
        self.close()

    def read_config(self) -> Config:
        """The configuration the run was started with.

        Raises:
            UsageError: there is no run in the folder.
            InputError: its file is damaged.
        """
        try:
            values = read_json(self.config_path)
            if not isinstance(values, dict):
                raise TypeError("it is not a JSON object")
            return Config.model_validate_json(json.dumps(values))
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{self.folder} holds no run: config.json is missing") from None
        except ValidationError as error:
            raise InputError(f"{self.config_path}: {explain(error, {})}") from error
        # Not UTF-8, not JSON, nested too deep, or a folder.
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"{self.config_path} is damaged: {describe(error)}. Put back the run's own, or "
                "name another --out"
            ) from error

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint; None before the first.

        Raises:
            InputError: it is damaged.
        """
        paths = checkpoint.found(self.checkpoints)
        return checkpoint.load(paths[-1]) if paths else None

    def restorable(self, like: Mapping[str, Any], steps: int) -> dict[str, Any] | None:
        """The newest checkpoint, which fits what it is to be restored into; None before the first.

        Args:
            like: the state of a trainer of this run.
            steps: of the run, when it is over.

        Raises:
            InputError: it is damaged, or of another run.
            UsageError: the run has made more steps already.
        """
        state = self.latest()
        if state is None:
            return None
        checkpoint.check(checkpoint.found(self.checkpoints)[-1], state, like)
        if state["step"] > steps:
            raise UsageError(
                f"{self.folder} has made {state['step']} steps already, and steps is {steps}: give "
                "--steps at least as many, or name another --out"
            )
        return state

    def begin_log(self, steps: int) -> None:
        """Removes what was logged of steps after a checkpoint: they will be made again.

        Args:
            steps: of the checkpoint; 0 where there is none, and even what was measured before the
                first step will be measured again.
        """
        from torch.utils.tensorboard import SummaryWriter

        try:
            self._events = SummaryWriter(str(self.tensorboard), purge_step=steps + bool(steps))
            lines = self.metrics.read_bytes().splitlines() if self.metrics.exists() else []
        except OSError as error:
            raise InputError(
                f"cannot write {error.filename or self.folder}: {error.strerror}. Move away what "
                "is there, and go on with --resume"
            ) from error
        kept = [line + b"\n" for line in lines if 0 < steps >= _step_of(line)]
        if lines:
            with atomic_write(self.metrics) as temporary:
                temporary.write_bytes(b"".join(kept))

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

    def _take(self) -> None:
        """Keeps other processes from training in the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot write {self.folder}: {error.strerror}. Name another --out"
            ) from error
        try:
            self._lock = lock(self.folder / ".lock")
        except InputError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            raise InputError(
                f"{self.folder} is being trained by another process. Wait for it or stop it, or "
                "name another --out"
            ) from error

    def _remove_leftovers(self) -> None:
        """Removes what killed writers left; their process is gone, since this one has the lock."""
        for folder in (self.folder, self.checkpoints, self.samples):
            for path in [*folder.iterdir()] if folder.is_dir() else []:
                if _LEFT.fullmatch(path.name):
                    path.unlink(missing_ok=True)

    def _must_be(self, config: Config) -> None:
        """Refuses another configuration than the run's, but for what may change on the way."""
        free = {"evaluation", "checkpoint"}
        if config.optim.decay == "constant":  # else the rate of every step depends on the last
            free.add("steps")
        before, after = (
            {k: v for k, v in _comparable(stored).items() if k not in free}
            for stored in (anchored(self.read_config()), config)
        )
        different = first_difference(before, after)
        if different is None:
            return
        what = (
            f"{self.folder} holds a run whose {different.key} is {different.before}, not "
            f"{different.after}"
        )
        if different.key == "steps":
            raise UsageError(
                f"{what}, and with optim.decay {config.optim.decay} the learning rate of every "
                "step depends on the last. Train on from its weights in a new run: grpo train "
                f"{self._weights(config)} --out ANOTHER"
            )
        raise UsageError(f"{what}. Go on with --resume alone, or name another --out")

    def _weights(self, config: Config) -> str:
        """The options that start another run from what this one trained."""
        model = shlex.quote(str(self.model))
        if config.policy.parameters == "full":
            return f"--model {model}"
        return f"--model {shlex.quote(config.model)} --lora {model}"


def _comparable(config: Config) -> dict[str, Any]:
    """A configuration without what changes no more than rounding, or a LoRA to start from decides.

    Where rewards are computed, and in how large batches, is of the first kind.
    """
    values = config.model_dump(
        mode="json", exclude={"scoring": {"device", "batch_size", "offload"}}
    )
    if config.policy.init_lora is not None:
        for key in ("rank", "alpha", "targets"):
            del values["policy"][key]
    return values


def _step_of(line: bytes) -> float:
    """The step of a line of metrics.jsonl; infinite of what the log did not write whole."""
    try:
        step = parse_json(line, "metrics.jsonl")["step"]
    except (ValueError, TypeError, KeyError):
        return math.inf
    return step if isinstance(step, int) else math.inf
