"""What the error of a batch means: too little memory, a run that cannot go on, or a bad sample.

Too little memory is met with a smaller batch, a dead device or service stops the run, and anything
else is the error of one sample, which shows when samples are scored one by one.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator

from rewardkit.errors import RewardKitError, RewardUnavailable, describe

# torch says only by its text that the memory of a CPU, of Apple's or of a CUDA library is used up.
_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)
_DEVICE = ("cuda error", "hip error", "device-side assert", "cuda driver error")


def as_error(error: BaseException) -> Exception:
    """What the code of a reward raised, as an error of that reward alone.

    `sys.exit` in such code would otherwise end the whole run, with no word and exit code 0.

    Raises:
        KeyboardInterrupt: it is one, and the user's.
    """
    if isinstance(error, KeyboardInterrupt):
        raise error
    if isinstance(error, Exception):
        return error
    wrapped = RewardKitError(f"its code ended with {describe(error)}")
    wrapped.__cause__ = error
    return wrapped


def is_memory(error: BaseException) -> bool:
    """Whether memory did not suffice, so that fewer samples at once may pass."""
    import torch

    return any(
        isinstance(link, MemoryError | torch.OutOfMemoryError)
        or (isinstance(link, RuntimeError) and _says(link, _MEMORY))
        for link in _chain(error)
    )


def stop_reason(error: BaseException) -> str | None:
    """Why no other sample can be scored either, as one line; None where others may pass."""
    import torch

    if is_memory(error):
        return None
    accelerator = getattr(torch, "AcceleratorError", ())  # torch before 2.8 has none
    for link in _chain(error):
        if isinstance(link, RewardUnavailable):
            return describe(link)
        broken = isinstance(link, RuntimeError) and _says(link, _DEVICE)
        if broken or isinstance(link, accelerator):
            # What follows the first line is torch's advice on debugging, the same for all of them.
            first = str(link).strip().splitlines()[0]
            return (
                f"the device failed, and this process can compute nothing more on it: {first} "
                "The same command resumes; with --device cpu, or "
                "CUDA_LAUNCH_BLOCKING=1, it shows which operation fails"
            )
    return None


def release(error: BaseException) -> None:
    """Let go of what the frames that raised `error` still hold, on the device too.

    A traceback keeps the local variables of every frame alive, so the tensors of a batch that did
    not fit would still be there when half of it is tried.
    """
    import torch

    for link in _chain(error):
        if link.__traceback__ is not None:
            traceback.clear_frames(link.__traceback__)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those it was raised from or met while it was handled."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error).casefold() for text in texts)
