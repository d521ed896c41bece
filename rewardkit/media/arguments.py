"""What is given beside media, prompts and mappings, as one for each medium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewardkit.errors import UsageError


def one_text_each(texts: Any, size: int) -> list[str | None]:
    """The prompts as a list; one text, or None, is that of all `size` media.

    Raises:
        UsageError: they are neither texts nor None.
    """
    if texts is None or isinstance(texts, str):
        return [texts] * size
    if isinstance(texts, Mapping | bytes) or not hasattr(texts, "__iter__"):
        raise UsageError(
            f"a {type(texts).__name__} is given as prompts. Accepted: one text for all media, or a "
            "list with a text or None for each"
        )
    prompts = list(texts)
    for index, prompt in enumerate(prompts):
        if prompt is not None and not isinstance(prompt, str):
            raise UsageError(
                f"prompt {index} is {prompt!r}, a {type(prompt).__name__}. A prompt is a text, or "
                "None where there is none"
            )
    return prompts


def one_mapping_each(what: str, mappings: Any, size: int) -> list[Mapping[str, Any]]:
    """The mappings as a list, empty ones where None is given; a single one is that of one medium.

    Raises:
        UsageError: they are no mappings; `what` is how the message calls them.
    """
    if mappings is None:
        return [{}] * size
    lines = [mappings] if isinstance(mappings, Mapping) and size == 1 else mappings
    if not isinstance(lines, Sequence) or not all(isinstance(line, Mapping) for line in lines):
        raise UsageError(
            f"a {type(mappings).__name__} is given as {what}. Accepted: a list with one mapping "
            "for each medium"
        )
    return list(lines)
