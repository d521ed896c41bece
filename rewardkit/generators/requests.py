"""What a generator is asked for: a prompt, a random seed, and the media it starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, final

from rewardkit.errors import UsageError

if TYPE_CHECKING:
    from rewardkit.media.batch import Medium


@final
@dataclass(frozen=True)
class Request:
    """One medium to be made.

    Attributes:
        prompt: the text.
        seed: from 0 to 2**63 - 1; the initial noise is drawn from it alone.
        references: the media that a task starts from, by name: "first_frame" for image-to-video,
            "source" for image-edit.
    """

    prompt: str
    seed: int
    references: Mapping[str, Medium] = field(default_factory=dict)


def check_requests(requests: Sequence[Request]) -> None:
    """Refuse requests that no pipeline can meet.

    Raises:
        UsageError: there are none, or a seed is out of range.
    """
    if not requests:
        raise UsageError("nothing to generate: no request was given")
    for request in requests:
        if not 0 <= request.seed < 2**63:
            raise UsageError(
                f"a seed is a whole number from 0 to 2**63 - 1; {request.seed} was given"
            )
