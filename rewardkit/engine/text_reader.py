"""The text in an image, as RapidOCR reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, final

from rewardkit.engine.onnx import runs_on_cuda
from rewardkit.errors import InputError, WeightsError, describe

if TYPE_CHECKING:
    import torch


@final
class TextReader:
    """PP-OCR's three networks: one finds lines, one turns them upright, one reads them.

    Args:
        detector: file of the first network.
        orientation: file of the second.
        recognizer: file of the third, which holds its alphabet.
        device: where they run, see `rewardkit.engine.onnx.runs_on_cuda`.
        side: images whose short side has fewer pixels are enlarged to it before lines are looked
            for; None is RapidOCR's default, 736.
    """

    def __init__(
        self,
        detector: Path,
        orientation: Path,
        recognizer: Path,
        device: torch.device,
        side: int | None = None,
    ) -> None:
        import numpy as np
        from rapidocr import RapidOCR

        settings: dict[str, object] = {
            "Global.log_level": "critical",  # it warns of each image without text
            "Det.model_path": str(detector),
            "Cls.model_path": str(orientation),
            "Rec.model_path": str(recognizer),
            # Images are read side by side, in loader threads.
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        }
        if runs_on_cuda(device):
            settings["EngineConfig.onnxruntime.use_cuda"] = True
            settings["EngineConfig.onnxruntime.cuda_ep_cfg.device_id"] = device.index or 0
        if side is not None:
            settings["Det.limit_side_len"] = side
        self._read = RapidOCR(params=settings)
        blank = np.full((32, 32, 3), 255, np.uint8)
        try:  # networks are loaded when they are first needed
            self._read(blank, use_det=False)
            self._read(blank, use_det=True)
        except Exception as error:
            raise WeightsError(
                f"the networks that read text cannot be loaded: {describe(error)}. They are ONNX "
                "files of PP-OCR, and that of the recognizer holds its alphabet"
            ) from error

    def lines(self, picture: torch.Tensor) -> Sequence[str]:
        """The lines of text, from top to bottom and left to right; thread-safe.

        Args:
            picture: uint8 `[3, H, W]`.

        Raises:
            InputError: the picture is too thin to be resized.
        """
        from rapidocr.utils.output import RapidOCROutput
        from rapidocr.utils.process_img import ResizeImgError

        blue_first = picture.flip(0).permute(1, 2, 0).contiguous().numpy(force=True)
        try:
            found = self._read(blue_first)
        except ResizeImgError as error:
            height, width = picture.shape[1:]
            raise InputError(
                f"an image of {width}x{height} is too thin for its text to be read. Crop it first"
            ) from error
        # Where nothing was found to be text, or none of it read, there are no lines.
        return (found.txts or ()) if isinstance(found, RapidOCROutput) else ()
