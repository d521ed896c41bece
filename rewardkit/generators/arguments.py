"""A protocol as the arguments of a pipeline's call: the defaults, what is accepted, what is passed.

What a pipeline accepts is read from the signature of its call, so that no family repeats it.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES, Family
from rewardkit.generators.protocol import Protocol
from rewardkit.media.batch import Clip
from rewardkit.media.images import to_pil
from rewardkit.media.task import kind_of

if TYPE_CHECKING:
    from PIL import Image

    from rewardkit.generators.requests import Request
    from rewardkit.media.batch import Medium

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


_OFF_IF_ABSENT = {"true_guidance", "negative_prompt"}


def default_protocol(pipe: Any) -> Protocol:
    """A pipeline's own protocol: the defaults of its call, and the size it was trained for."""
    family, values = FAMILIES[type(pipe).__name__], _defaults(pipe)
    values["height"], values["width"] = family.size(pipe)
    if kind_of(family.task) == "video":
        values.setdefault("fps", family.fps)
    if (values.get("true_guidance") or 0) > 1:
        values["negative_prompt"] = family.negative_prompt
    else:
        values["true_guidance"] = None  # off
    return Protocol(**{"guidance": None, **values})


def call_arguments(pipe: Any, protocol: Protocol) -> dict[str, Any]:
    """What a pipeline's call is given of a protocol, but for the negative prompt, which is text."""
    values = protocol.model_dump(exclude_none=True, exclude={"negative_prompt"})
    # Off unless the protocol says otherwise, whatever the default of the call.
    values.setdefault("true_guidance", 1.0)
    accepted = _defaults(pipe)
    return {ARGUMENTS[name]: value for name, value in values.items() if name in accepted}


def text_arguments(protocol: Protocol, requests: Sequence[Request]) -> dict[str, Any]:
    """The texts that a pipeline's call is given."""
    texts = {"prompt": [request.prompt for request in requests]}
    if protocol.negative_prompt is not None:
        texts["negative_prompt"] = [protocol.negative_prompt] * len(requests)
    return texts


def reference_arguments(pipe: Any, request: Request) -> dict[str, Any]:
    """The reference media that a pipeline's call is given."""
    names = FAMILIES[type(pipe).__name__].references
    return {names[name]: _to_pil(name, medium) for name, medium in request.references.items()}


def check_references(pipe: Any, requests: Sequence[Request]) -> None:
    """Refuse requests with references that a pipeline does not take, or without those it needs.

    Raises:
        UsageError: naming the reference, and what is accepted.
    """
    name, names = type(pipe).__name__, FAMILIES[type(pipe).__name__].references
    parameters = inspect.signature(type(pipe).__call__).parameters
    accepted = ", ".join(names) or "none"
    for request in requests:
        for reference, medium in request.references.items():
            if reference not in names:
                raise UsageError(f"a {name} takes no reference {reference!r}; accepted: {accepted}")
            _to_pil(reference, medium)
        for reference, argument in names.items():
            required = parameters[argument].default is inspect.Parameter.empty
            if required and reference not in request.references:
                raise UsageError(
                    f"a {name} needs the reference {reference!r}, and the request for "
                    f"{request.prompt!r} has none. Give it: Request(..., references="
                    f"{{{reference!r}: medium}})"
                )


def check_protocol(pipe: Any, protocol: Protocol) -> None:
    """Refuse a protocol that a pipeline cannot keep, or would change in silence.

    Raises:
        UsageError: naming the option, and what is accepted.
    """
    name, accepted = type(pipe).__name__, _defaults(pipe)
    family = FAMILIES[name]
    values = protocol.model_dump(exclude_none=True)
    needed = {option: value for option, value in accepted.items() if option not in _OFF_IF_ABSENT}
    if kind_of(family.task) == "video":
        # A clip has a frame rate even where the network has no input for it.
        needed.setdefault("fps", family.fps)
    for option in values:
        if option not in needed and option not in accepted:
            raise UsageError(
                f"a {name} does not use {ARGUMENTS[option]}, but the protocol gives {option} "
                f"{values[option]!r}. Leave it out"
            )
    for option, default in needed.items():
        if option not in values:
            own = "" if default is None else f"; the default is {default}"
            raise UsageError(
                f"the protocol lacks {option}, which changes what a {name} makes. Give it{own}"
            )
    if (protocol.max_sequence_length or 0) > family.longest:
        raise UsageError(
            f"a {name} accepts a max_sequence_length of at most {family.longest}; "
            f"{protocol.max_sequence_length} was given"
        )
    only = family.only_length(pipe)
    if only is not None and protocol.max_sequence_length != only:
        raise UsageError(
            f"this {name} tells text from picture by a max_sequence_length of {only}; "
            f"{protocol.max_sequence_length} was given. Set it to {only}"
        )
    check_frames(name, pipe, protocol.frames)
    _check_guidance(name, accepted, protocol)
    check_size(name, pipe, protocol.height, protocol.width)


def _check_guidance(name: str, accepted: Mapping[str, Any], protocol: Protocol) -> None:
    """Refuse a negative prompt without guidance by it, and the reverse: each is ignored alone."""
    true = "true_guidance" in accepted
    option, off = ("true_guidance", 1.0) if true else ("guidance", FAMILIES[name].unguided)
    scale = getattr(protocol, option)
    guided = scale is not None and scale > off
    if protocol.negative_prompt is not None and not guided:
        raise UsageError(
            f"a {name} uses a negative prompt where {option} is above {off:g}; {scale} was given. "
            f"Raise {option}, or leave the negative prompt out"
        )
    if true and guided and protocol.negative_prompt is None:
        raise UsageError(
            f"a {name} uses true_guidance where there is a negative prompt, and none was given. "
            "Give negative_prompt; it may be a single space"
        )


def check_frames(name: str, pipe: Any, frames: int | None) -> None:
    """Refuse a number of frames that a pipeline would round.

    Args:
        name: its class.
        pipe: the pipeline, or what has those of its attributes that the family reads.
        frames: of a clip; None for pictures.

    Raises:
        UsageError: naming the numbers that are accepted.
    """
    family: Family = FAMILIES[name]
    multiple = family.frames(pipe) if family.frames else 1
    if frames is not None and (frames - 1) % multiple:
        raise UsageError(
            f"a {name} makes a number of frames that is a multiple of {multiple}, plus 1; "
            f"{frames} was given"
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
    size = f"height {height} and width {width} were given"
    if height % multiple or width % multiple:
        raise UsageError(
            f"a {name} accepts a height and width that are multiples of {multiple}; {size}"
        )
    if largest is not None and max(height, width) > largest:
        raise UsageError(f"a {name} accepts a height and width of at most {largest}; {size}")


def _defaults(pipe: Any) -> dict[str, Any]:
    """The default of each value of a protocol that the pipeline's call uses."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    unused = set() if FAMILIES[type(pipe).__name__].uses_guidance(pipe) else {"guidance"}
    return {
        name: parameters[argument].default
        for name, argument in ARGUMENTS.items()
        if argument in parameters and name not in unused
    }


def _to_pil(name: str, medium: Medium) -> Image.Image:
    if isinstance(medium, Clip):
        raise UsageError(
            f"the reference {name!r} must be a picture; a clip was given. Give one of its frames"
        )
    return to_pil(medium)
