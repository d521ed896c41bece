"""Judges: a vision-language model behind an OpenAI-compatible endpoint says how good a medium is.

    judge.yes      P(yes) to whether it shows the prompt     judge.points  a list of test points
    judge.scores   scores by name                            judge.rubric  two criteria, in a list

`judge:FILE.toml` asks what a template of the user's says; see `rewardkit.judging`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from rewardkit.engine.card import RewardCard
from rewardkit.engine.registry import register, register_scheme
from rewardkit.engine.reward import Reward, RewardEntry
from rewardkit.errors import UsageError
from rewardkit.judging.model import JudgeModel
from rewardkit.judging.questions import Questions
from rewardkit.judging.reading import PACKAGED, read_template
from rewardkit.judging.template import JudgeTemplate
from rewardkit.judging.tiny import tiny_model
from rewardkit.media.batch import Batch

if TYPE_CHECKING:
    import torch

    from rewardkit.engine.loader import Loader

SCHEME = "judge"
NAMES = ("yes", "scores", "points", "rubric")


def _card(name: str, template: JudgeTemplate) -> RewardCard:
    return RewardCard(
        name=name,
        summary=template.summary,
        inputs=("image", "video"),
        needs_prompt=template.needs_prompt,
        needs_meta=template.needs_meta,
        needs_endpoint=True,
        unit=template.unit,
        range=template.range,
        notes=(
            *template.notes,
            "The score is what the model at --endpoint says: `rewardkit bench preferences` "
            "measures how often that model agrees with people.",
            f"Pixels are sent as PNG; of a clip at most {template.frames} frames, evenly spaced, "
            "with the first and the last.",
            "Temperature 0 and seed 0 are sent unless the template's table [request] changes them. "
            "A server may still answer otherwise in another batch, so answers are kept in "
            "$HF_HOME/rewardkit/judge.",
            "Answers are found again by the endpoint's address, the model's name, the template and "
            "the pixels. Delete that folder after replacing the weights behind the same name and "
            "address.",
            "An answer that cannot be read is an error with its text.",
            *(("An empty prompt counts as missing.",) if template.needs_prompt else ()),
        ),
    )


@register(
    *(_card(f"judge.{name}", read_template(PACKAGED / f"{name}.toml")) for name in NAMES),
    default="judge.yes",
)
class Judge(Reward):
    """What a model says of each sample, read as a number."""

    def __init__(self, card: RewardCard, questions: Questions) -> None:
        self.card = card
        self.extractor = questions

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Judge:
        """Finds the model at the endpoint; all judges of a loader share the calls to it."""
        template = _template(card.name)
        if loader.tiny:
            return cls(card, Questions(template, tiny_model(template)))
        endpoint = loader.endpoint_of(card)
        model = loader.shared((JudgeModel, endpoint), lambda: JudgeModel.at(endpoint))
        return cls(card, Questions(template, model))

    def score(self, batch: Batch, features: Sequence[float]) -> torch.Tensor:
        """The scores that the answers state, float32 `[B]`."""
        import torch

        return torch.tensor(features, dtype=torch.float32)

    def provenance(self) -> Mapping[str, str]:
        """The template, the model, and what the endpoint reports of it."""
        assert isinstance(self.extractor, Questions)
        model = self.extractor.model
        return {
            "sha256 of the template": self.extractor.template.sha256,
            "model": model.name,
            "model of the endpoint": model.reported,
        }


@final
class JudgeFile:
    """The scheme `judge:FILE.toml`."""

    form = "judge:FILE.toml"

    def check(self, place: str) -> str:
        """See `Scheme.check`."""
        if not (place.endswith(".toml") and Path(place).is_file()):
            raise UsageError(
                f"there is no template {place!r}, which judge:{place} names. A judge of your own "
                f"is written judge:FILE.toml; copy a template of {PACKAGED}"
            )
        return place if place.startswith((".", "/")) else f"./{place}"

    def entry(self, name: str, place: str) -> RewardEntry:
        """See `Scheme.entry`."""
        return RewardEntry(_card(name, read_template(Path(place))), Judge, place)


def _template(name: str) -> JudgeTemplate:
    if name.startswith(f"{SCHEME}:"):
        return read_template(Path(name.removeprefix(f"{SCHEME}:")))
    return read_template(PACKAGED / f"{name.partition('.')[2]}.toml")


register_scheme(SCHEME, JudgeFile())
