"""A protocol as the arguments of a pipeline's call: the defaults, what is accepted, what is passed.

What a pipeline accepts is read from the signature of its call, so that no family repeats it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES, Family
from rewardkit.generators.protocol import Protocol
from rewardkit.media.task import kind_of

#: The argument of diffusers' calls for each value of a protocol.
ARGUMENTS = {
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "true_guidance": "true_cfg_scale",
    "negative_prompt": "negative_prompt",
    "height": "height",
    "width": "width",
    "frames": "num_frames",
    "fps": "frame_rate",
    "max_sequence_length": "max_sequence_length",
}


def default_protocol(pipe: Any) -> Protocol:
    """A pipeline's own protocol: the defaults of its call, and the size it was trained for."""
    family, defaults = FAMILIES[type(pipe).__name__], _defaults(pipe)
    height, width = family.size(pipe)
    values = {"fps": family.fps, **defaults, "height": height, "width": width}
    if (defaults.get("true_guidance") or 1) > 1:
        values["negative_prompt"] = family.negative_prompt
    else:
        values.pop("true_guidance", None)
    return Protocol(**{"guidance": None, **values})


def call_arguments(pipe: Any, protocol: Protocol) -> dict[str, Any]:
    """What a pipeline's call is given of a protocol, but for the negative prompt, which is text."""
    values = protocol.model_dump(exclude_none=True, exclude={"negative_prompt"})
    # Off unless the protocol says otherwise, whatever the default of the call.
    values.setdefault("true_guidance", 1.0)
    accepted = _defaults(pipe)
    return {ARGUMENTS[name]: value for name, value in values.items() if name in accepted}


def check_protocol(pipe: Any, protocol: Protocol) -> None:
    """Refuse a protocol that a pipeline cannot keep, or would change in silence.

    Raises:
        UsageError: naming the option, and what is accepted.
    """
    name, accepted = type(pipe).__name__, _defaults(pipe)
    family = FAMILIES[name]
    given = protocol.model_dump(exclude_none=True)
    for option in given:
        # A clip has a frame rate, also where the network is not told it.
        if option not in accepted and not (option == "fps" and kind_of(family.task) == "video"):
            raise UsageError(
                f"a {name} has no {ARGUMENTS[option]}, but the protocol gives {option} "
                f"{given[option]}. Leave it out"
            )
    optional = {"true_guidance", "negative_prompt"}
    needed = {option: value for option, value in accepted.items() if value is not None}
    if kind_of(family.task) == "video":
        needed.setdefault("fps", family.fps)
    for option, default in needed.items():
        if option not in given and option not in optional:
            raise UsageError(
                f"the protocol lacks {option}, which changes what a {name} makes. Give it; the "
                f"default is {default}"
            )
    if (protocol.max_sequence_length or 0) > family.longest:
        raise UsageError(
            f"a {name} accepts a max_sequence_length of at most {family.longest}; "
            f"{protocol.max_sequence_length} was given"
        )
    _check_guidance(name, accepted, protocol)
    check_size(name, pipe, protocol.height, protocol.width)


def _check_guidance(name: str, accepted: Mapping[str, Any], protocol: Protocol) -> None:
    """Refuse a negative prompt without guidance by it, and the reverse: each is ignored alone."""
    option = "true_guidance" if "true_guidance" in accepted else "guidance"
    scale = getattr(protocol, option)
    guided = scale is not None and scale > 1
    if protocol.negative_prompt is not None and not guided:
        raise UsageError(
            f"a {name} uses a negative prompt where {option} is above 1; {scale} was given. Raise "
            f"{option}, or leave the negative prompt out"
        )
    if protocol.true_guidance is not None and guided and protocol.negative_prompt is None:
        raise UsageError(
            f"a {name} uses true_guidance where there is a negative prompt, and none was given. "
            "Give negative_prompt; it may be a single space"
        )


def check_size(name: str, pipe: Any, height: int, width: int) -> None:
    """Refuse a height and width that a pipeline cannot make.

    Args:
        name: its class.
        pipe: the pipeline, or what has those of its attributes that the family reads.
        height: in pixels.
        width: in pixels.

    Raises:
        UsageError: naming the sizes that are accepted.
    """
    family: Family = FAMILIES[name]
    multiple, largest = family.multiple(pipe), family.largest(pipe)
    given = f"height {height} and width {width} were given"
    if height % multiple or width % multiple:
        raise UsageError(
            f"a {name} accepts a height and width that are multiples of {multiple}; {given}"
        )
    if largest is not None and max(height, width) > largest:
        raise UsageError(f"a {name} accepts a height and width of at most {largest}; {given}")


def _defaults(pipe: Any) -> dict[str, Any]:
    """The default of each value of a protocol that the pipeline's call has an argument for."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    return {
        name: parameters[argument].default
        for name, argument in ARGUMENTS.items()
        if argument in parameters
    }
