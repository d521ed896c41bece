"""Can a run sample its prompts, and its rewards score them? Asked before the model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from grpo.config.fields import Config
from grpo.preview import Model, size_of
from rewardkit.devices import check_device_name
from rewardkit.engine.loader import check_endpoint, check_overrides
from rewardkit.engine.needs import check_lines
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.reward import GroupReward
from rewardkit.engine.spec import parse
from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.references import check_shapes, reference_files
from rewardkit.media.prompts import PromptLine
from rewardkit.weights.hub import parse_overrides


def check(
    config: Config, lines: Sequence[PromptLine], held_out: Sequence[PromptLine] | None, model: Model
) -> None:
    """Refuse prompts and rewards that would fail on the run's first samples.

    Args:
        config: the run.
        lines: its prompts.
        held_out: prompts of its evaluation; None without one.
        model: what makes the samples.

    Raises:
        UsageError: the objective cannot train the model's task, a reward takes no such media or
            cannot be trained on by the objective, a prompt is not of a reward's kind, a local file
            of weights is not there or of no reward, or scoring.device is no device's name.
        InputError: a picture that a line starts from is missing or cannot be used, or has another
            shape than the samples; or a line lacks what the objective reads of it.
    """
    if config.scoring.device is not None:
        check_device_name(config.scoring.device)
    kind = model.kind
    family = FAMILIES.get(model.pipeline or "")
    if family is not None:
        config.objective.check_task(family.task)
    if model.pipeline is not None and family is not None and family.references:
        check_pictures([*lines, *(held_out or ())], model.pipeline, size_of(config, model))
    config.objective.check_lines(lines)
    reward = parse(config.reward, resolve)
    check_lines(reward, lines, kind)
    config.objective.check_rewards(reward)
    names = list(reward.names)
    if held_out is not None:
        watched = parse(config.evaluation.rewards or config.reward, resolve)
        for name in watched.names:
            if issubclass(entry(name).cls, GroupReward):
                raise UsageError(
                    f"{name} compares the samples of a group, and an evaluation has no groups. "
                    "Name other evaluation.rewards"
                )
        check_lines(watched, held_out, kind)
        names += watched.names
    files = parse_overrides([f"{name}={path}" for name, path in config.scoring.weights.items()])
    cards = [entry(name).card for name in names]
    check_overrides(files, cards)
    check_endpoint(cards, config.scoring.service)


def check_pictures(
    lines: Sequence[PromptLine], pipeline: str, size: tuple[int, int] | None
) -> None:
    """Refuse lines without the pictures that a model starts from, or with unusable ones.

    Args:
        lines: prompts.
        pipeline: the class of the model's pipeline, of one of the families.
        size: height and width of its samples in pixels; None leaves the pictures' shapes unchecked.

    Raises:
        InputError: a picture is missing, cannot be used, or has another shape than the samples.
    """
    files = reference_files(lines, FAMILIES[pipeline])
    if size is not None:
        check_shapes(zip((line.where for line in lines), files, strict=True), *size)
