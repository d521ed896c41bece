"""The prompt that a generator's user interface wrote into a picture: A1111's and ComfyUI's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import InputError
from rewardkit.media.files import open_file, quoted
from rewardkit.media.images import open_picture

if TYPE_CHECKING:
    from PIL import Image

# Exif's UserComment, where A1111 writes into JPEG and WebP, and the folder of tags it is in.
_EXIF, _USER_COMMENT = 0x8769, 0x9286
# Inputs of ComfyUI's nodes: those that lead towards the positive text, and those that are text.
_TOWARDS_TEXT = re.compile(r"positive|guider|conditioning(_.*)?|cond")
_TEXTS = re.compile(r"text(_[gl])?|clip_[lg]|t5xxl|string|value|prompt|positive")


def embedded_prompt(path: str | Path) -> str | None:
    """The prompt in a picture's metadata; None where there is none.

    A1111: the text chunk `parameters` of PNG, or Exif's comment, up to the negative prompt and the
    settings. ComfyUI: of the graph in the chunk `prompt`, the text that the samplers' `positive`
    leads to. Pillow bounds what it reads of either (1 MB of a PNG's chunk).

    Raises:
        InputError: the file is no picture, or the graph leads to no text, or to several.
    """
    name = quoted(path)
    with open_file(path) as stream:
        picture = open_picture(stream, name)
        parameters = picture.info.get("parameters") or _comment(picture)
        graph = picture.info.get("prompt")
    if isinstance(parameters, str):
        return _of_parameters(parameters)
    return _of_graph(graph, name) if isinstance(graph, str) else None


def _of_parameters(text: str) -> str | None:
    return re.split(r"(?:^|\n)(?:Negative prompt:|Steps: )", text, maxsplit=1)[0].strip() or None


def _comment(picture: Image.Image) -> str | None:
    try:
        comment = picture.getexif().get_ifd(_EXIF).get(_USER_COMMENT)
    except Exception:  # a decoder may raise anything; metadata nobody can read is none
        return None
    if not isinstance(comment, bytes):
        return comment if isinstance(comment, str) else None
    coding, text = comment[:8], comment[8:]
    if coding.startswith(b"UNICODE"):
        # Exif leaves the order of bytes open: of text in Latin letters, half the bytes are zero.
        big = text[::2].count(0) >= text[1::2].count(0)
        return text.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0")
    return text.decode("utf-8", "replace").strip("\0") if coding.startswith(b"ASCII") else None


def _of_graph(text: str, name: str) -> str | None:
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return text.strip() or None  # another program's chunk of that name: the prompt itself
    if not isinstance(graph, dict) or not all(isinstance(node, dict) for node in graph.values()):
        raise InputError(f"{name}: its chunk 'prompt' is JSON, but not a ComfyUI graph")
    starts = [
        link
        for node in graph.values()
        for key, link in _inputs(node).items()
        if key in ("positive", "guider") and "sampler" in str(node.get("class_type")).lower()
    ]
    found = dict.fromkeys(text for link in starts for text in _texts(graph, link))
    if len(found) != 1:
        shown = ", ".join(repr(text[:40]) for text in found)
        raise InputError(
            f"{name}: its ComfyUI graph leads from {len(starts)} samplers to {len(found)} texts"
            f"{f' ({shown})' if shown else ''}, so which is the prompt is not clear. Give it in a "
            "file of prompts"
        )
    return next(iter(found))


def _texts(graph: Mapping[str, Any], link: Any) -> Iterator[str]:
    """The texts that a link leads back to."""
    waiting, seen = [link], set()
    while waiting:
        link = waiting.pop()
        # A link is [node, number of its output].
        node = str(link[0]) if isinstance(link, list) and link else None
        if node is None or node in seen or node not in graph:
            continue
        seen.add(node)
        for key, value in _inputs(graph[node]).items():
            if _TEXTS.fullmatch(key) and isinstance(value, str) and value.strip():
                yield value.strip()
            elif _TEXTS.fullmatch(key) or _TOWARDS_TEXT.fullmatch(key):
                waiting.append(value)


def _inputs(node: Mapping[str, Any]) -> Mapping[str, Any]:
    found = node.get("inputs")
    return found if isinstance(found, dict) else {}
