"""Networks in ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.errors import WeightsError, describe

if TYPE_CHECKING:
    import torch
    from onnxruntime import InferenceSession

_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


def runs_on_cuda(device: torch.device) -> bool:
    """Whether networks run on this device: only where `onnxruntime-gpu` is installed."""
    from onnxruntime import get_available_providers

    return device.type == "cuda" and _CUDA in get_available_providers()


def session(path: Path, device: torch.device) -> InferenceSession:
    """The network of a file, on the device if `runs_on_cuda`, else on the CPU.

    It uses as many threads as torch does. Its method `run` is thread-safe.

    Raises:
        WeightsError: the file is no network in the ONNX format.
    """
    import torch
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    providers: list[str | tuple[str, dict[str, int]]] = [_CPU]
    if runs_on_cuda(device):
        providers.insert(0, (_CUDA, {"device_id": device.index or 0}))
    try:
        return InferenceSession(path, options, providers=providers)
    except Exception as error:  # its classes of errors have no common base
        raise WeightsError(
            f"{path} cannot be loaded as a network: {describe(error)}. Give an ONNX file"
        ) from error
