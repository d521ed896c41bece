"""`grpo train`: prompts and a reward in, a better model out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.terminal import echo
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grpo.config import Config
    from grpo.resolve import Resolved


@click.command()
@click.option(
    "--model", metavar="NAME", help="What to train: a name, owner/name on the hub, or a folder."
)
@click.option(
    "-r", "--reward", metavar="SPEC", help="What to train on: 'hps+clip', '0.7*hps+1.4*clip'."
)
@click.option("--method", metavar="NAME", help="A method (`grpo methods`), or a .toml of yours.")
@click.option("--recipe", metavar="NAME", help="A recipe (`grpo recipes`), or a .toml of yours.")
@click.option(
    "-p",
    "--prompts",
    metavar="FILE",
    help=".txt, .jsonl, .csv, .parquet, .json; package:NAME/FILE.",
)
@click.option("--steps", metavar="N", help="Training steps: a rollout and its updates each.")
@click.option("--seed", metavar="N", help="Of all randomness.  [default: 0]")
@click.option("--eval-every", metavar="N", help="Training steps between held-out evaluations.")
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE",
    help="Any setting, such as optim.lr=1e-5; none is the absent value.",
)  # fmt: skip
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="The run's folder.  [default: runs/MODEL-METHOD-SEED]",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True, help="Go on with the run in --out; start it if there is none."
)
@click.option("--dry-run", is_flag=True, help="Print what would be run, and what it amounts to.")
@click.option("--json", "as_json", is_flag=True, help="Print the dry run as JSON.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
def train(
    model: str | None,
    reward: str | None,
    method: str | None,
    recipe: str | None,
    prompts: str | None,
    steps: str | None,
    seed: str | None,
    eval_every: str | None,
    sets: tuple[str, ...],
    out: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    device: str,
) -> None:
    """Train a generator so that what it makes scores higher.

    Settings come from the method, the recipe, the options and --set; later ones win. Without
    --recipe and --method, the recipe that is made for the model is taken. To go on with a run,
    --out DIR --resume is enough.
    """
    from rewardkit.media.prompts import read

    options = {
        "model": model,
        "reward": reward,
        "prompts": prompts,
        "steps": steps,
        "seed": seed,
        "evaluation.every": eval_every,
    }
    settings = _settings({key: text for key, text in options.items() if text is not None}, sets)
    if as_json and not dry_run:
        raise UsageError("--json is the form of a dry run: give --dry-run too")
    resolved, out = _run(recipe, method, settings, out, resume)
    for note in resolved.notes:
        echo(f"Note: {note}", err=True)
    # Read here, so that a wrong file is told before the model is loaded.
    lines = read(resolved.config.prompts)
    if resolved.config.evaluation.prompts is not None:
        read(resolved.config.evaluation.prompts)
    if dry_run:
        _print(resolved, out, len(lines), as_json)
        return
    from grpo.train import train as run

    run(resolved.config, out=out, resume=resume, device=device)


def _settings(options: dict[str, str], sets: Sequence[str]) -> dict[str, object]:
    """Options and --set as one, by dotted key."""
    settings: dict[str, object] = {**options}
    for given in sets:
        key, equals, text = (part.strip() for part in given.partition("="))
        if not key or not equals:
            raise UsageError(f"--set {given!r}: a setting is written KEY=VALUE, as optim.lr=1e-5")
        if key in settings:
            raise UsageError(f"{key} is given twice: {settings[key]!r} and {text!r}")
        settings[key] = text
    return settings


def _run(
    recipe: str | None,
    method: str | None,
    settings: dict[str, object],
    out: Path | None,
    resume: bool,
) -> tuple[Resolved, Path]:
    """What to run and where: the run that is in the folder and goes on, or a new one."""
    from grpo.resolve import continued, resolve
    from grpo.run import Run

    if out is None or not (resume and Run(out).config_path.exists()):
        resolved = resolve(recipe, method, settings)
        out = out or Path("runs") / _name(resolved.config)
        if not (resume and Run(out).config_path.exists()):
            return resolved, out
    return continued(Run(out).read_config(), recipe, method, settings), out


def _name(config: Config) -> str:
    parts = (Path(config.model).name, Path(config.method).stem, str(config.seed))
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _print(resolved: Resolved, out: Path, prompts: int, as_json: bool) -> None:
    from grpo.layers import flatten
    from grpo.resolve import derived
    from grpo.settings import as_toml

    config = resolved.config.model_dump(mode="json")
    counts = {"prompts": prompts, **derived(resolved.config)}
    if as_json:
        shown = {
            "out": str(out),
            "config": config,
            "origins": dict(resolved.origins),
            "derived": counts,
            "notes": list(resolved.notes),
        }
        echo(json.dumps(shown, indent=2))
        return
    echo(as_toml(dict(flatten(config)), resolved.origins))
    echo("\n".join(["", f"# out: {out}", *(f"# {k}: {v}" for k, v in counts.items())]))
