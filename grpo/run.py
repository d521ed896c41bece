"""A run's folder: its configuration, what happened, and what came of it.

config.json            the resolved configuration, its paths absolute
rewardkit.json         the RunCard: base model, rewards trained on, prompts' checksum, versions
metrics.jsonl          one line per step, and one per evaluation
samples/               sheets of fixed prompts and seeds; of clips, also as mp4, where they play
checkpoints/           what --resume continues from
model/                 the trained weights, as plain diffusers loads them
.lock                  locked by the process that trains
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, final

from pydantic import ValidationError

from grpo import checkpoint
from grpo.config.fields import Config
from grpo.config.settings import explain
from grpo.distributed import World
from grpo.log import Log
from grpo.places import anchored
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.records.differences import first_difference
from rewardkit.records.documents import read_json
from rewardkit.records.locks import lock
from rewardkit.records.storage import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping


# What a killed writer of the run's files leaves: those of `atomic_write`.
_LEFT = re.compile(r"\.(config|rewardkit|metrics|step-\d+)\.[0-9a-f]{8}\.(json|jsonl|pt|png|mp4)")


@final
class Run:
    """One run's folder. One process trains in it at a time; any may read it.

    Leaving a `with` block, or `close`, lets another process train in it.

    Args:
        folder: of the run.
        world: the processes that train in it together; None is this one alone.

    Attributes:
        writes: whether this process writes in it; of those that train together one does.
    """

    def __init__(self, folder: Path, world: World | None = None) -> None:
        self.folder, self._world = folder, world or World()
        self.writes = self._world.first
        self.config_path = folder / "config.json"
        self.card = folder / "rewardkit.json"
        self.metrics = folder / "metrics.jsonl"
        self.samples = folder / "samples"
        self.checkpoints = folder / "checkpoints"
        self.model = folder / "model"
        self.log = Log(self.metrics, folder / "tensorboard", self.writes)
        self._lock: BinaryIO | None = None

    @classmethod
    def open(cls, folder: Path, config: Config, resume: bool, world: World | None = None) -> Run:
        """The folder of a new run, or of one to resume; a new one is not made before `begin`.

        Raises:
            UsageError: it holds a run and `resume` is false, or a run of another configuration.
            InputError: another process trains in it.
        """
        run = cls(folder, world)
        if run.config_path.exists():
            if not resume:
                raise UsageError(
                    f"{folder} holds a run already: resume it with --resume, or name another --out"
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
        if not self.writes:
            return
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
        self.log.close()
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

    def save(self, step: int, state: dict[str, Any], keep: int) -> None:
        """Writes a checkpoint, and removes all but the newest `keep`; every process calls it.

        Raises:
            InputError: it cannot be written.
        """
        checkpoint.save(self.checkpoints, step, state, keep, self._world)

    def latest(self) -> dict[str, Any] | None:
        """The newest checkpoint; None before the first.

        Raises:
            InputError: it is damaged.
        """
        paths = checkpoint.paths(self.checkpoints)
        # Of shared out weights a process reads its share alone.
        return checkpoint.load(paths[-1], self._world.lockstep) if paths else None

    def restorable(self, like: Mapping[str, Any], steps: int) -> dict[str, Any] | None:
        """The newest checkpoint, which fits what it is to be restored into; None before the first.

        Args:
            like: the state of a trainer of this run.
            steps: number of steps of the whole run.

        Raises:
            InputError: it is damaged, or it is another run's.
            UsageError: the run has made more steps already.
        """
        state = self.latest()
        if state is None:
            return None
        checkpoint.check(checkpoint.paths(self.checkpoints)[-1], state, like)
        if state["step"] > steps:
            raise UsageError(
                f"{self.folder} has made {state['step']} steps already, and steps is {steps}: give "
                "--steps at least as many, or name another --out"
            )
        return state

    def _take(self) -> None:
        """Keeps other processes from training in the folder."""
        if not self.writes:
            return
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
        """Refuses a configuration that differs from the run's in what may not change on the way."""
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
            what += f", and with optim.decay {config.optim.decay} the learning rate of every step "
            what += "depends on the last"
            if self.model.exists():
                raise UsageError(
                    f"{what}. Train on from its weights in a new run: grpo train "
                    f"{self._weights(config)} --out ANOTHER"
                )
        raise UsageError(f"{what}. Resume it with --resume alone, or name another --out")

    def _weights(self, config: Config) -> str:
        """The options that start another run from what this one trained."""
        model = shlex.quote(str(self.model))
        if config.policy.parameters == "full":
            return f"--model {model}"
        return f"--model {shlex.quote(config.model)} --lora {model}"


def _comparable(config: Config) -> dict[str, Any]:
    """A configuration without what may differ when a run is resumed.

    Where rewards are computed, and in how large batches, changes nothing but rounding, and where
    the VAE waits, how many calls are made at once, or how long they may take, nothing; the rank,
    alpha and layers of a LoRA to start from are the LoRA's.
    """
    values = config.model_dump(
        mode="json",
        exclude={
            "scoring": {"device", "batch_size", "offload", "endpoint", "concurrency", "timeout"},
            "policy": {"offload"},
        },
    )
    if config.policy.init_lora is not None:
        for key in ("rank", "alpha", "targets"):
            del values["policy"][key]
    return values
