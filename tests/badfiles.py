"""Files as users really have them: cut short, mislabelled, odd or hostile, built by code.

`make` writes them into one folder; each says whether it has to give a score or an error, and why.
"""

from __future__ import annotations

import io
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from PIL import Image

Kind = Literal["image", "video"]
Outcome = Literal["score", "error"]


@dataclass(frozen=True)
class BadFile:
    """One file of the corpus.

    Attributes:
        path: a str that may hold surrogate escapes.
        kind: what its name claims it is.
        expect: what reading it as that kind has to end in.
        why: the reason, in a few words.
    """

    path: str
    kind: Kind
    expect: Outcome
    why: str


def make(folder: Path) -> dict[str, BadFile]:
    """Writes the corpus and returns it by name; `folder` also gets a link that leads back to it."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus: dict[str, BadFile] = {}

    def add(name: str, expect: Outcome, why: str) -> Path:
        path = folder / name
        kind: Kind = "video" if path.suffix in {".mp4", ".mkv", ".avi"} else "image"
        corpus[name] = BadFile(str(path), kind, expect, why)
        return path

    for name, expect, why, data in [*_pictures(), *_clips()]:
        add(name, expect, why).write_bytes(data)

    good = _encode(_photo(), "PNG")
    add("line\nbreak.png", "score", "a newline in its name").write_bytes(good)
    add(os.fsdecode(b"caf\xe9.png"), "score", "a name that is not UTF-8").write_bytes(good)
    add("\N{HOT BEVERAGE} a+b [1] #2 % ?.png", "score", "a name full of signs").write_bytes(good)
    add("dangling.png", "error", "a link to nothing").symlink_to("nowhere.png")
    add("circular.png", "error", "a link to itself").symlink_to("circular.png")
    os.mkfifo(add("pipe.png", "error", "a pipe nobody writes to"))
    secret = folder / "secret.png"
    secret.write_bytes(good)
    secret.chmod(0)
    # Root may read everything.
    add("secret.png", "score" if os.access(secret, os.R_OK) else "error", "no permission to read")
    (folder / "again").symlink_to(".", target_is_directory=True)
    return corpus


def _pictures() -> Iterator[tuple[str, Outcome, str, bytes]]:
    photo = _photo()
    jpeg, png, webp = (_encode(photo, name) for name in ("JPEG", "PNG", "WEBP"))
    yield "empty.jpg", "error", "0 bytes", b""
    yield "cut.jpg", "error", "the second half is missing", jpeg[: len(jpeg) // 2]
    yield "cut.png", "error", "the second half is missing", png[: len(png) // 2]
    yield "cut.webp", "error", "the second half is missing", webp[: len(webp) // 2]
    yield "cut-at-the-end.jpg", "error", "the last 20 bytes are missing", jpeg[:-20]
    yield "header.png", "error", "a signature and nothing else", png[:8]
    damaged = png[:-40] + bytes([png[-40] ^ 0xFF]) + png[-39:]
    yield "checksum.png", "error", "pixels that fail their checksum", damaged
    yield "text.jpg", "error", "text", b"not a picture\n" * 20
    yield "page.jpg", "error", "an error page saved as a picture", b"<!DOCTYPE html><html></html>"
    yield "drawing.png", "error", "an SVG", b'<svg xmlns="http://www.w3.org/2000/svg"></svg>'
    yield "document.png", "error", "a PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    yield "script.png", "error", "PostScript, a program", b"%!PS-Adobe-3.0 EPSF-3.0\n"
    yield "phone.jpg", "error", "a HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
    yield "film.png", "error", "a video", _video(3)
    yield (
        "pointer.png",
        "error",
        "a Git LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\n",
    )
    yield "noise.png", "error", "random bytes", np.random.default_rng(0).bytes(500)
    yield "bomb.png", "error", "3.6 billion pixels in 60 bytes", _png_header(60_000, 60_000)
    yield "hdr.tiff", "error", "floats up to 7", _encode(_floats(7), "TIFF")
    yield "nan.tiff", "error", "a float that is no number", _encode(_floats(np.nan), "TIFF")
    deep = Image.fromarray(np.full((8, 8), 1_000_000, np.int32))
    yield "deep.tiff", "error", "32-bit integers without a scale", _encode(deep, "TIFF")

    yield "float.tiff", "score", "floats in 0..1", _encode(_floats(1), "TIFF")
    yield "mislabelled.png", "score", "a JPEG named .png", jpeg
    yield "cmyk.jpg", "score", "four inks", _encode(photo.convert("CMYK"), "JPEG")
    grey16 = Image.fromarray(np.arange(0, 65536, 16, np.uint16).reshape(64, 64))
    yield "grey16.png", "score", "16 bits", _encode(grey16, "PNG")
    yield "bits.png", "score", "1 bit", _encode(photo.convert("1"), "PNG")
    yield "grey-alpha.png", "score", "grey with alpha", _encode(photo.convert("LA"), "PNG")
    clear = photo.copy()
    clear.putalpha(0)
    yield "clear.png", "score", "transparent all over", _encode(clear, "PNG")
    indexed = photo.quantize(16)
    yield "indexed.png", "score", "palette, alpha", _encode(indexed, "PNG", transparency=b"\0\x80")
    yield "pixel.png", "score", "1 x 1", _encode(photo.resize((1, 1)), "PNG")
    yield "column.png", "score", "1 x 20000", _encode(photo.resize((1, 20_000)), "PNG")
    yield "row.png", "score", "20000 x 1", _encode(photo.resize((20_000, 1)), "PNG")
    exif = Image.Exif()
    exif[0x0112] = 6
    yield "sideways.jpg", "score", "a turned camera", _encode(photo, "JPEG", exif=exif)
    garbage = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff\xff\xff\xff\xff"
    yield "odd-exif.jpg", "score", "an EXIF block of garbage", _encode(photo, "JPEG", exif=garbage)
    yield "moving.gif", "score", "4 frames", _animation("GIF")
    yield "moving.webp", "score", "4 frames", _animation("WEBP")


def _clips() -> Iterator[tuple[str, Outcome, str, bytes]]:
    whole = _video(12)
    # With its index in front, a cut file still opens; with the index at its end, it does not.
    streamed = _video(12, movflags="faststart")
    yield "empty.mp4", "error", "0 bytes", b""
    yield "text.mp4", "error", "text", b"not a video\n" * 200
    yield "playlist.mp4", "error", "names other files", b"ffconcat version 1.0\nfile whole.mp4\n"
    yield "photo.mp4", "error", "a JPEG", _encode(_photo(), "JPEG")
    yield "cut.mp4", "error", "the second half is missing", streamed[: len(streamed) // 2]
    yield "no-index.mp4", "error", "cut before its index", whole[: len(whole) // 2]
    matroska = _video(30, form="matroska")
    yield "cut.mkv", "error", "the second half is missing", matroska[: len(matroska) // 2]
    avi = _video(30, form="avi")
    yield "cut.avi", "error", "the second half is missing", avi[: len(avi) // 2]
    middle = len(streamed) // 2
    zeroed = streamed[:middle] + bytes(200) + streamed[middle + 200 :]
    yield "damaged.mp4", "error", "zeros in the middle", zeroed
    yield "song.mp4", "error", "sound only", _song()
    yield "nothing.mp4", "error", "no stream at all", _video(0)
    # An index written before the frames, which then never came.
    streaming = _video(0, movflags="empty_moov+frag_keyframe")
    yield "no-frames.mp4", "error", "a video stream without frames", streaming

    yield "whole.mp4", "score", "nothing wrong with it", whole
    yield "single.mp4", "score", "one frame", _video(1)
    yield "odd.mp4", "score", "17 x 33", _video(3, size=(17, 33))
    yield "uneven.mp4", "score", "a variable frame rate", _video(6, uneven=True)
    yield "turned.mp4", "score", "a turned camera", _video(3, turned=90)
    yield "mislabelled.avi", "score", "an MP4 named .avi", whole
    yield "picture.mp4", "score", "a GIF named .mp4", _animation("GIF")


def _photo() -> Image.Image:
    """A small picture with something in every channel."""
    grid = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(grid).resize((64, 48), Image.Resampling.BICUBIC)


def _floats(top: float) -> Image.Image:
    grey = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    grey[-1, -1] = top
    return Image.fromarray(grey)


def _encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def _animation(form: str) -> bytes:
    first, *others = (_photo().rotate(90 * turn) for turn in range(4))
    return _encode(first, form, save_all=True, append_images=others, duration=100)


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size, and holds no pixels."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _video(
    count: int,
    *,
    size: tuple[int, int] = (64, 48),
    form: str = "mp4",
    movflags: str = "",
    uneven: bool = False,
    turned: int = 0,
) -> bytes:
    """A clip of noise, 10 frames per second; `uneven`: the third frame lasts half a second more."""
    width, height = size
    rng = np.random.default_rng(0)
    options = {"movflags": movflags} if movflags else {}
    with tempfile.TemporaryDirectory() as folder:  # faststart writes its file a second time
        path = Path(folder, "clip")
        with av.open(str(path), "w", format=form, container_options=options) as container:
            # No B-frames, so that packets are in order and their times can be moved.
            track = container.add_stream("libx264", rate=10, options={"bf": "0", "threads": "1"})
            track.width, track.height = width, height
            track.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
            if turned:
                track.set_display_rotation(turned)
            container.start_encoding()
            packets = []
            for _ in range(count):
                pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
                packets += track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24"))
            packets += track.encode()
            for index, packet in enumerate(packets):
                if uneven and index > 2:
                    later = round(Fraction(1, 2) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                container.mux(packet)
        return path.read_bytes()


def _song() -> bytes:
    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        track = container.add_stream("aac", rate=44_100)
        for start in range(0, 10_240, 1024):
            sound = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            sound.sample_rate, sound.pts = 44_100, start
            container.mux(track.encode(sound))
        container.mux(track.encode())
    return stream.getvalue()
