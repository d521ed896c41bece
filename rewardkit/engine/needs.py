"""Checks that rewards can score the media of prompts, before any medium is made."""

from __future__ import annotations

from collections.abc import Sequence

from rewardkit.engine.checks import missing
from rewardkit.engine.registry import entry
from rewardkit.engine.spec import RewardSpec
from rewardkit.errors import InputError, UsageError, describe
from rewardkit.media.batch import Kind
from rewardkit.media.prompts import PromptLine

_MEDIA = {"image": "images", "video": "videos"}


def check_lines(spec: RewardSpec, lines: Sequence[PromptLine], kind: Kind) -> None:
    """Refuse rewards that cannot score a sample of some prompt; nothing is loaded.

    Args:
        spec: the rewards.
        lines: the prompts that media are made for.
        kind: of these media.

    Raises:
        UsageError: a reward takes no such media, or a prompt is not of its kind.
    """
    for name in spec.names:
        known = entry(name)
        card = known.card
        if kind not in card.inputs:
            raise UsageError(
                f"{card.name} takes {card.takes}, and the model makes {_MEDIA[kind]}. "
                f"`rewardkit list --input {kind}` lists the rewards that take them"
            )
        problems = []
        for line in lines:
            problem = missing(card, line.prompt, line.meta, ())
            try:
                if problem is None:
                    known.cls.check_line(line.prompt, line.meta)
            except InputError as error:
                problem = error
            if problem is not None:
                problems.append((line, problem))
        if problems:
            first, problem = problems[0]
            raise UsageError(
                f"{card.name} cannot judge {len(problems)} of {len(lines)} prompts; first "
                f"{first.where}: {describe(problem)}. Use prompts that it can judge, or another "
                "reward"
            )
