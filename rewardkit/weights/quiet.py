"""Loading without the remarks and bars of the libraries that load."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@contextmanager
def quiet() -> Iterator[None]:
    """Turns off the bars and the remarks of diffusers and transformers.

    Bars would be drawn over the caller's own. The remarks are of two kinds: on what is meant so (a
    part that a pipeline is without, encoders that a LoRA does not touch), and on tensors that are
    missing or left over. The second kind matters, so code that turns it off must check for
    such tensors itself: each use says how.
    """
    libraries: list[Any] = [
        import_module(f"{name}.utils.logging")
        for name in ("diffusers", "transformers")
        if find_spec(name) is not None  # diffusers is installed where something is generated
    ]
    levels = [library.get_verbosity() for library in libraries]
    loud = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in libraries:
        # What diffusers logs as an error it then raises: it would be said twice.
        library.set_verbosity(logging.CRITICAL)
    for library in loud:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
        for library in loud:
            library.enable_progress_bar()


@contextmanager
def without_retries() -> Iterator[None]:
    """Turns off the lines in which the hub's client tells of each retry; the last is an error."""
    from huggingface_hub.utils import logging as hub_logging

    hub: Any = hub_logging  # comes without types
    level = hub.get_verbosity()
    hub.set_verbosity_error()
    try:
        yield
    finally:
        hub.set_verbosity(level)
