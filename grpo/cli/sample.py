"""`grpo sample`: media before and after a training run, or the best of several of any model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.options import device_option, endpoint_options, reward_option
from rewardkit.cli.tables import console
from rewardkit.cli.terminal import echo
from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from grpo.run import Run
    from rewardkit.service import Endpoint


@click.command()
@click.argument("source", metavar="RUN|MODEL")
@click.option(
    "-p",
    "--prompts",
    metavar="FILE",
    help="File with prompts.  [default: the prompts of the run's held-out evaluation]",
)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    help="Number of prompts.  [default: evaluation.sheet of the run; with --best-of, all]",
)
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0), help="Random seed of the noise."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), metavar="PATH",
    help="Contact sheet to write, .png or .jpg; with --best-of, output folder.  "
    "[default: RUN/samples.png]",
)  # fmt: skip
@click.option(
    "--best-of", type=click.IntRange(2), metavar="N",
    help="Draw N samples of each prompt and keep the one that --reward scores highest.",
)  # fmt: skip
@reward_option(help="Rewards to choose by, such as 0.7*hps+1.4*clip; with --best-of.")
@click.option(
    "--batch-size", type=click.IntRange(1), metavar="N",
    help="Number of samples generated at once; with --best-of.  [default: 4]",
)  # fmt: skip
@click.option(
    "--weights", multiple=True, metavar="NAME=PATH",
    help="Local file with a reward's weights; with --best-of.",
)  # fmt: skip
@click.option(
    "--reward-device", metavar="NAME",
    help="Device of the rewards' networks; with --best-of.  [default: --device]",
)  # fmt: skip
@endpoint_options
@device_option
def sample(
    source: str,
    prompts: str | None,
    count: int | None,
    seed: int,
    out: Path | None,
    best_of: int | None,
    rewards: str | None,
    batch_size: int | None,
    weights: tuple[str, ...],
    reward_device: str | None,
    endpoint: Endpoint | None,
    device: str,
) -> None:
    """Draw a contact sheet of samples before and after training, from the same initial noise.

    RUN is the folder of a run of `grpo train`. The sheet of a model of clips shows some of their
    frames; an mp4 of the same name, beside it, shows them playing.

    With --best-of, N samples of each prompt are drawn from a RUN, or from any MODEL (a name,
    owner/name on the Hub, or a folder), and the one that --reward scores highest is kept. The
    manifest in the output folder holds its random seed and the scores of all N. The same command
    resumes an interrupted run.
    """
    from grpo.run import Run

    run = Run(Path(source))
    if best_of is not None:
        if rewards is None or out is None:
            raise UsageError("--best-of needs a reward to choose by (-r) and an output folder (-o)")
        _best_of(
            source, run, prompts, count, seed, out, best_of, rewards, batch_size or 4, weights,
            reward_device, endpoint, device,
        )  # fmt: skip
        return
    of_best_of = (rewards, batch_size, weights or None, reward_device, endpoint)
    if any(value is not None for value in of_best_of):
        raise UsageError(
            "--reward, --batch-size, --weights, --reward-device and --endpoint go with --best-of "
            "N; without it, a contact sheet is drawn"
        )
    config = run.read_config()
    from grpo.sample import sample as draw

    sheet = draw(
        run=run.folder,
        prompts=prompts or config.evaluation.prompts or config.prompts,
        out=out or run.folder / "samples.png",
        number=count or config.evaluation.sheet,
        seed=seed,
        device=device,
    )
    echo(str(sheet))


def _best_of(
    source: str,
    run: Run,
    prompts: str | None,
    count: int | None,
    seed: int,
    out: Path,
    number: int,
    rewards: str,
    batch_size: int,
    weights: tuple[str, ...],
    reward_device: str | None,
    endpoint: Endpoint | None,
    device: str,
) -> None:
    from rich.progress import Progress

    from grpo import best_of
    from grpo.config.fields import ScoringConfig
    from rewardkit.devices import check_device_name
    from rewardkit.engine.loader import check_endpoint, check_overrides
    from rewardkit.engine.registry import entry, resolve
    from rewardkit.engine.spec import parse
    from rewardkit.media.prompts import read
    from rewardkit.weights.hub import parse_overrides

    spec = parse(rewards, resolve)
    best_of.check(spec)
    for name in (device, reward_device):
        if name is not None:
            check_device_name(name)
    files = {name: str(path) for name, path in parse_overrides(weights).items()}
    cards = [entry(name).card for name in spec.names]
    check_overrides(files, cards)
    check_endpoint(cards, endpoint)
    settings = ScoringConfig(device=reward_device, weights=files, **_service(endpoint))
    trained = run.config_path.is_file()
    if prompts is None:
        if not trained:
            raise UsageError(f"{source} is no run, which has prompts of its own: give -p FILE")
        config = run.read_config()
        prompts = config.evaluation.prompts or config.prompts
    lines = read(prompts)[:count]

    from grpo.rewards import Rewards
    from grpo.sample import tuned
    from rewardkit.generators.pipelines import load

    pipeline = tuned(run, device) if trained else load(source, device=device)
    pipe: Any = pipeline.diffusers
    stderr = console(sys.stderr)
    with Progress(console=stderr, disable=not stderr.is_terminal) as progress:
        task = progress.add_task("sampling", total=len(lines))
        manifest = best_of.best_of(
            pipeline,
            lambda: Rewards(str(spec), str(pipe.device), settings),
            spec,
            lines,
            out,
            number=number,
            seed=seed,
            batch_size=batch_size,
            on_prompt=lambda done, total: progress.update(task, completed=done),
        )
    echo(str(manifest))


def _service(endpoint: Endpoint | None) -> dict[str, Any]:
    """An endpoint as settings of a `ScoringConfig`."""
    if endpoint is None:
        return {}
    return {
        "endpoint": endpoint.url,
        "judge_model": endpoint.model,
        "concurrency": endpoint.concurrency,
        "timeout": endpoint.timeout,
    }
