"""`grpo train`: trains a model on a reward."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardkit.cli.options import ENDPOINT, JUDGE_MODEL, device_option, reward_option
from rewardkit.cli.terminal import echo
from rewardkit.devices import check_device_name
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grpo.config.fields import Config
    from grpo.config.resolve import Resolved, Trust


@click.command()
@click.option(
    "--model", metavar="NAME", help="Model to train: a name, owner/name on the Hub, or a folder."
)
@reward_option(
    help="Rewards to train on: 'hps+clip', '0.7*hps+1.4*clip'. Repeat the option to add rewards."
)
@click.option(
    "--method",
    metavar="NAME",
    help="Training method: a name (`grpo methods`) or your own .toml file.",
)
@click.option(
    "--recipe",
    metavar="NAME",
    help="Method and settings for a model: a name (`grpo recipes`) or your own .toml file.",
)
@click.option(
    "-p",
    "--prompts",
    metavar="FILE",
    help="Prompts: .txt, .jsonl, .csv, .parquet, .json, or package:NAME/FILE.",
)
@click.option(
    "--steps", metavar="N", help="Number of training steps, each a rollout and its updates."
)
@click.option(
    "--lora",
    metavar="PATH",
    help="LoRA to start from: a run's folder, a LoRA file or folder, or owner/name.",
)
@click.option("--seed", metavar="N", help="Random seed of the run.  [default: 0]")
@click.option(
    "--eval-every", metavar="N", help="Number of training steps between held-out evaluations."
)
@click.option(
    "--set", "sets", multiple=True, metavar="KEY=VALUE",
    help="Change any setting, such as optim.lr=1e-5. KEY=none unsets it.",
)  # fmt: skip
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=PATH",
    help="Local file with a reward's weights; `rewardkit show` lists the names.",
)
@ENDPOINT
@JUDGE_MODEL
@click.option(
    "--reward-device", metavar="NAME", help="Device of the rewards' networks.  [default: --device]"
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the run.  [default: runs/MODEL-METHOD-SEED]",
)  # fmt: skip
@click.option(
    "--resume", is_flag=True, help="Resume the run in --out, or start it if there is none."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the full configuration and the cost of a step without training.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the dry run as JSON.")
@click.option(
    "--trust-code",
    is_flag=True,
    help="Allow running a FILE.py that a recipe or the run in --out names as a reward, and calling "
    "an endpoint that it names.",
)
@device_option
def train(
    model: str | None,
    rewards: str | None,
    method: str | None,
    recipe: str | None,
    prompts: str | None,
    steps: str | None,
    lora: str | None,
    seed: str | None,
    eval_every: str | None,
    sets: tuple[str, ...],
    weights: tuple[str, ...],
    endpoint: str | None,
    judge_model: str | None,
    reward_device: str | None,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    as_json: bool,
    trust_code: bool,
    device: str,
) -> None:
    """Train an image or video generator to score higher on a reward.

    Settings come from the method, the recipe, the options and --set, in this order; later ones
    override earlier ones. Without --recipe and --method, the default recipe of the model is used. A
    run uses one device, or one per process: start several with torchrun or `accelerate launch`.

    To resume a run, pass --out DIR --resume. If optim.decay is constant, --steps N extends the run.
    Ctrl-C or SIGTERM stops a run after the current step and saves it; a second one stops it
    immediately. The exit code is then 130; torchrun and accelerate launch print it and exit with 1.

    A reward FILE.py:NAME is code. It runs if you name it with -r. If only a recipe or the run in
    --out names it, which others may have written, you are asked to confirm on a terminal; without a
    terminal it is refused unless you pass -r or --trust-code. The same holds for an endpoint, which
    receives the samples and the key, and --endpoint.
    """
    from grpo import preview
    from grpo.distributed import World
    from grpo.ready import check
    from rewardkit.media.prompts import read

    world = click.get_current_context().with_resource(World.of_environment())
    options = {
        "model": model,
        "reward": rewards,
        "prompts": prompts,
        "steps": steps,
        "seed": seed,
        "evaluation.every": eval_every,
        "policy.init_lora": lora,
        "scoring.device": reward_device,
        "scoring.endpoint": endpoint,
        "scoring.judge_model": judge_model,
    }
    chosen: dict[str, object] = {key: text for key, text in options.items() if text is not None}
    if weights:
        from rewardkit.weights.hub import parse_overrides

        chosen["scoring.weights"] = {
            name: str(path) for name, path in parse_overrides(weights).items()
        }
    check_device_name(device)
    settings = _settings(chosen, sets)
    if lora is not None:
        settings.setdefault("policy.parameters", "lora")
    if as_json and not dry_run:
        raise UsageError("--json prints a dry run: pass --dry-run too")
    if model is not None:  # A wrong model is reported before a missing recipe.
        preview.look(model, str(settings["revision"]) if "revision" in settings else None)
    trust = (lambda _: True) if trust_code else (_ask if world.size == 1 else lambda _: False)
    resolved, out = _run(recipe, method, settings, out, resume, trust)
    looked = preview.look(resolved.config.model, resolved.config.revision)
    preview.check(resolved.config, looked)
    for note in resolved.notes if world.first else ():
        echo(f"Note: {note}", err=True)
    # Read here so that errors in the file are reported before the model is loaded.
    lines = read(resolved.config.prompts)
    held_out = resolved.config.evaluation.prompts
    check(resolved.config, lines, None if held_out is None else read(held_out), looked)
    per_step = resolved.config.sampler.prompts_per_step
    if len(lines) < per_step and world.first:
        echo(
            f"Note: {resolved.config.prompts} has {len(lines):,} prompts and a training step uses "
            f"{per_step:,}, so prompts repeat within a step. To change this, set "
            "sampler.prompts_per_step",
            err=True,
        )
    if dry_run:
        from grpo.estimate import summary

        if world.first:
            looks = summary(resolved.config, looked, device)
            _print(resolved, out, len(lines), looks, as_json)
        return
    from grpo.train import Stopped
    from grpo.train import train as run

    try:
        run(resolved.config, out=out, resume=resume, device=device, world=world)
    except KeyboardInterrupt as interrupt:
        if not isinstance(interrupt, Stopped) and world.first:
            _report_stopped(resolved.config, out)
        click.get_current_context().exit(130)


def _report_stopped(config: Config, out: Path) -> None:
    """Print what is kept of a run that a second signal stopped, or a first one before step 1."""
    from grpo import checkpoint
    from grpo.display import stopped
    from grpo.run import Run

    run = Run(out)
    if not run.config_path.exists():
        echo("\nStopped before the run started: nothing was written.", err=True)
        return
    saved = checkpoint.paths(run.checkpoints)
    done = int(saved[-1].stem.removeprefix("step-")) if saved else 0
    echo(f"\n{stopped(out, done, config.steps)}", err=True)


def _settings(options: Mapping[str, object], sets: Sequence[str]) -> dict[str, object]:
    """Options and --set in one dictionary, by dotted key."""
    settings: dict[str, object] = {**options}
    for assignment in sets:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        if not key or not equals:
            raise UsageError(
                f"--set {assignment!r}: a setting is written KEY=VALUE, such as optim.lr=1e-5"
            )
        if key in settings:
            raise UsageError(f"{key} is given twice: {settings[key]!r} and {text!r}; give it once")
        settings[key] = text
    return settings


def _run(
    recipe: str | None,
    method: str | None,
    settings: dict[str, object],
    out: Path | None,
    resume: bool,
    trust: Trust,
) -> tuple[Resolved, Path]:
    """The settings and the folder of the run: the resumed run in `out`, or a new one."""
    from grpo.config.resolve import continued, resolve
    from grpo.run import Run

    if out is None or not (resume and Run(out).config_path.exists()):
        resolved = resolve(recipe, method, settings, trust)
        out = out or Path("runs") / _name(resolved.config)
        if not (resume and Run(out).config_path.exists()):
            return resolved, out
    return continued(Run(out).read_config(), recipe, method, settings, trust), out


def _ask(what: str) -> bool:
    """Whether the user allows code that a file names; False without a terminal to ask on."""
    return (
        sys.stdin is not None and sys.stdin.isatty() and click.confirm(f"{what}. Run it?", err=True)
    )


def _name(config: Config) -> str:
    parts = (Path(config.model).name, Path(config.method).stem, str(config.seed))
    return re.sub(r"[^\w.-]+", "-", "-".join(parts))


def _print(
    resolved: Resolved, out: Path, prompts: int, summary: Sequence[str], as_json: bool
) -> None:
    from grpo.config.counts import counts
    from grpo.config.layers import flatten
    from grpo.config.settings import as_toml

    config = resolved.config.model_dump(mode="json")
    amounts = {"prompts": prompts, **counts(resolved.config)}
    if as_json:
        shown = {
            "out": str(out),
            "config": config,
            "origins": dict(resolved.origins),
            "summary": list(summary),
            "derived": amounts,
            "notes": list(resolved.notes),
        }
        echo(json.dumps(shown, indent=2))
        return
    echo("\n".join([*(f"# {line}" for line in summary), ""]))
    echo(as_toml(dict(flatten(config)), resolved.origins))
    echo("\n".join(["", f"# out: {out}", *(f"# {k}: {v}" for k, v in amounts.items())]))
