"""Pictures: anything Pillow reads, told by content and never by extension, as uint8 RGB.

The pixels are those of `PIL.Image.open(path).convert("RGB")`, which is what the scorers of this
field feed on, with three differences: EXIF orientation is applied, 16-bit grey is scaled where
`convert` would clip it, and a file that ends too early is an error instead of a half-grey picture.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rewardkit.errors import InputError, UsageError, describe
from rewardkit.media.files import looks_like, open_file, quoted

if TYPE_CHECKING:
    import torch
    from PIL import Image

#: Pillow's own limit against decompression bombs: a quarter GiB of RGB.
MAX_PIXELS = 1024**3 // 4 // 3

# Registered with Pillow, and not pictures: documents (EPS would start Ghostscript on the file), and
# formats Pillow recognises but has no decoder for.
_NOT_PICTURES = frozenset({"EPS", "PDF", "MPEG", "BUFR", "GRIB", "HDF5", "WMF"})

# What the EXIF tag Orientation says was done to the scene, undone: names in Image.Transpose.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIDEWAYS = ("TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90")


def read_image(
    source: str | Path | bytes | BinaryIO | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> torch.Tensor:
    """A picture as a uint8 tensor `[3, H, W]`; see `open_rgb`.

    The tensor is a view of an `[H, W, 3]` array (channels last), so `to_pil` need not reorder it.
    """
    import numpy as np
    import torch

    rgb = np.array(open_rgb(source, max_pixels=max_pixels))  # a copy: torch wants it writable
    return torch.from_numpy(rgb).permute(2, 0, 1)


def open_rgb(
    source: str | Path | bytes | BinaryIO | Image.Image, *, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """A picture as an upright 8-bit RGB `PIL.Image`: the first frame where there are several.

    Alpha is dropped, not blended: the colour stored under transparent pixels shows, as it does for
    every upstream scorer. 16-bit grey keeps its high byte, as Pillow does for 16-bit colour.

    Args:
        source: a path, the bytes of a file, an open binary file, or a picture Pillow has opened.
        max_pixels: refuse larger pictures on their header alone, before anything is decoded.

    Raises:
        InputError: the file cannot be opened, is no picture, is damaged or too large, or holds
            values without a scale (32-bit integers above 65535, floats outside 0..1).
    """
    from PIL import Image

    name = "the picture"
    if isinstance(source, Image.Image):
        _check_size(source, name, max_pixels)
        return decode_rgb(source, name)
    if isinstance(source, str | Path):
        name = quoted(source)
        with open_file(source) as stream:
            return decode_rgb(open_picture(stream, name, max_pixels), name)
    data = source if isinstance(source, bytes) else source.read()
    if not data:
        raise InputError(f"{name} is empty (0 bytes)")
    return decode_rgb(open_picture(io.BytesIO(data), name, max_pixels), name)


def open_picture(stream: BinaryIO, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """A picture whose header is read and accepted, and whose pixels are not decoded yet.

    Args:
        stream: an open, seekable file; it has to stay open until the pixels are decoded.
        name: what error messages call it.
        max_pixels: see `open_rgb`.
    """
    _ignore_remarks()
    problem = None
    try:
        picture = _identify(stream)
    except Exception as error:  # a decoder may raise anything on a hostile header
        picture, problem = None, error
    if picture is None:
        stream.seek(0)
        contents = looks_like(stream.read(512))
        # Some decoders take a text of a few letters for their own, and then fail.
        if problem is not None and contents != "text":
            raise InputError(f"{name} is damaged or cut short: {describe(problem)}") from problem
        raise InputError(f"{name} cannot be read as a picture; it looks like {contents}")
    _check_size(picture, name, max_pixels)
    return picture


def decode_rgb(picture: Image.Image, name: str) -> Image.Image:
    """The current frame of an opened picture, decoded, upright, 8-bit RGB; see `open_rgb`."""
    _ignore_remarks()
    try:
        picture.load()
        return _to_rgb(_upright(picture), name)
    except InputError:
        raise
    except Exception as error:  # a decoder may raise anything on damaged data
        raise InputError(f"{name} is damaged or cut short: {describe(error)}") from error


def to_pil(picture: torch.Tensor) -> Image.Image:
    """A uint8 tensor `[3, H, W]` as a `PIL.Image`."""
    from PIL import Image

    return Image.fromarray(picture.permute(1, 2, 0).cpu().numpy())


def write_image(picture: torch.Tensor, path: str | Path) -> None:
    """Writes a uint8 tensor `[3, H, W]` as PNG, which loses nothing."""
    save_picture(to_pil(picture), path, "PNG")


def save_picture(picture: Image.Image, path: str | Path, form: str | None = None) -> None:
    """Writes a picture in a format of Pillow's, by default that of the path's extension.

    Raises:
        UsageError: Pillow writes no format of that extension.
        OSError: the disk does not take it.
    """
    from PIL import Image

    Image.init()
    form = form or Image.registered_extensions().get(Path(path).suffix.lower())
    if form not in Image.SAVE:
        raise UsageError(
            f"{Path(path).suffix!r} is not an extension of pictures: end the name in .png or .jpg"
        )
    # Not straight into the file: Pillow's encoders pass over what a full disk did not take.
    data = io.BytesIO()
    picture.save(data, format=form)
    Path(path).write_bytes(data.getbuffer())


@functools.cache
def image_suffixes() -> frozenset[str]:
    """The extensions of every picture format Pillow decodes here, such as ".png", in lower case."""
    from PIL import Image

    Image.init()
    return frozenset(
        suffix
        for suffix, form in Image.registered_extensions().items()
        if form in Image.OPEN and form not in _NOT_PICTURES
    )


def _identify(stream: BinaryIO) -> Image.Image | None:
    """The header read by the first format that knows the stream; None where none does.

    `Image.open` does the same and then judges the size by one limit for the whole process, with a
    warning. Here the limit is the caller's and an error, so its registry is walked without it.
    """
    from PIL import Image

    Image.init()
    for form in Image.ID:
        opener, accepts = Image.OPEN[form]
        stream.seek(0)
        if form in _NOT_PICTURES or (accepts and accepts(stream.read(16)) is not True):
            continue
        stream.seek(0)
        try:
            return opener(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue  # Pillow's way of saying: not this format after all
    return None


def _check_size(picture: Image.Image, name: str, max_pixels: int) -> None:
    width, height = picture.size
    if not 0 < width * height <= max_pixels:
        raise InputError(
            f"{name} is {width} x {height} = {width * height:,} pixels; accepted are 1 to "
            f"{max_pixels:,}. Make it smaller, or raise the limit (--max-pixels) if you trust it"
        )


def upright_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height of an opened picture, rotated as its metadata says; decodes nothing."""
    width, height = picture.size
    turned = _turn(picture) in _SIDEWAYS
    return (height, width) if turned else (width, height)


def _upright(picture: Image.Image) -> Image.Image:
    """The image, rotated as its metadata says.

    `ImageOps.exif_transpose` also rewrites the metadata, and fails if another tag is damaged.
    """
    from PIL import Image

    method = _turn(picture)
    return picture if method is None else picture.transpose(Image.Transpose[method])


def _turn(picture: Image.Image) -> str | None:
    """How an image is to be turned, as PIL calls it; None where it is upright."""
    from PIL import ExifTags

    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, LookupError, TypeError, struct.error):
        return None  # metadata nobody can read does not spoil the picture
    # A tag of the wrong type (text, several numbers) names no orientation either.
    return _UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _to_rgb(picture: Image.Image, name: str) -> Image.Image:
    import numpy as np
    from PIL import Image

    if picture.mode == "F":
        grey = np.asarray(picture)
        if not (grey.min() >= 0 and grey.max() <= 1):  # NaN fails too
            raise InputError(
                f"{name} holds floats in {grey.min():.4g}..{grey.max():.4g}; accepted are 0..1. "
                "Scale it, or save it with 8 or 16 bits"
            )
        picture = Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    elif picture.mode.startswith("I"):
        grey = np.asarray(picture)
        if not (grey.min() >= 0 and grey.max() <= 0xFFFF):
            raise InputError(
                f"{name} holds 32-bit integers in {grey.min()}..{grey.max()}; accepted are "
                "0..65535, read as 16-bit grey. Save it with 8 or 16 bits"
            )
        picture = Image.fromarray((grey >> 8).astype(np.uint8))
    elif "transparency" in picture.info:
        # Alpha is dropped in any case; left here, Pillow would warn that it is.
        picture = picture.copy()
        del picture.info["transparency"]
    return picture.convert("RGB") if picture.mode != "RGB" else picture


def _ignore_remarks() -> None:
    """Turns off what Pillow's decoders remark on odd metadata: it would interleave with progress.

    Not `warnings.catch_warnings`: leaving that restores the filters of the whole process, which
    goes wrong as soon as two threads decode. So one narrow filter is put up, once, and stays.
    """
    module = re.compile(r"PIL\.\w+ImagePlugin")
    if not any(module in entry for entry in warnings.filters):
        warnings.filterwarnings("ignore", category=UserWarning, module=module.pattern)
