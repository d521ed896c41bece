"""What libav tells of a video file: when its frames begin, whether it is whole, and its pixels.

A file is read twice, packets first and pixels second, so that only the frames somebody wants are
ever held. This module is imported only by code that already needs PyAV.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import av.container
import av.video.stream
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from rewardkit.errors import InputError
from rewardkit.media.files import looks_like, open_file, quoted

# The containers read here. libav knows many more, among them playlists, text as terminal art, and
# pictures by extension, and would make a "video" of nearly any file.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,nut,ivf,m4v,h264,hevc,obu,"
    "yuv4mpegpipe"
)

# libav's own choice for streams that state no rate.
_DEFAULT_RATE = 25.0


@dataclass(frozen=True)
class StreamInfo:
    """What a file's packets tell before any is decoded.

    Attributes:
        times: when the frames begin, in seconds since the first one, ascending.
        rate: what libav takes for the number of frames per second.
        average_rate: frames per second over the whole stream, as its header states them; None where
            it does not.
        width: of the stored frame, before rotation.
        height: of the stored frame, before rotation.
        container: libav's names of the container, such as "matroska,webm".
        codec: libav's name of the codec, such as "h264".
    """

    times: list[float]
    rate: float
    average_rate: float | None
    width: int
    height: int
    container: str
    codec: str


def scan(path: str | Path) -> StreamInfo:
    """Reads all packets of a video file and decodes none.

    Raises:
        InputError: the file has no video, no frames, or ends before its header says.
    """
    with _video(path) as (container, stream):
        rate = float(stream.guessed_rate or _DEFAULT_RATE)
        stamps: list[int | None] = []
        end, broken = 0.0, False
        for packet in container.demux():
            if packet.size == 0:  # libav marks the end of each stream so
                continue
            if packet.is_corrupt:
                broken = True
                continue
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None:
                end = max(end, float((stamp + (packet.duration or 0)) * packet.time_base))
            # An edit list may keep frames only because later ones need them to be decoded.
            if packet.stream.index == stream.index and not packet.is_discard:
                stamps.append(packet.pts)
        promised = _promised_seconds(container, stream)
        # Not to the frame: headers round, count the padding of sound, and leave out how long the
        # last frame lasts.
        if broken or end < promised - max(0.25, 2 / rate, promised / 20):
            raise InputError(
                f"{quoted(path)} is cut short or damaged: {end:.2f} s ({len(stamps)} frames) are "
                f"whole{f', of {promised:.2f} s that it promises' if promised else ''}. Copy or "
                "render it again"
            )
        if not stamps:
            raise InputError(f"{quoted(path)} has a video stream without a single frame")
        # Packets come in the order of decoding, frames in the order of showing.
        stamps.sort(key=lambda stamp: -1 if stamp is None else stamp)
        codec, average = stream.codec_context, stream.average_rate
        return StreamInfo(
            _seconds(stamps, stream, rate),
            rate,
            float(average) if average else None,
            codec.width,
            codec.height,
            container.format.name,
            codec.name,
        )


def decode(
    path: str | Path, info: StreamInfo, choose: Callable[[list[float]], Sequence[int]]
) -> tuple[NDArray[np.uint8], list[float]]:
    """The frames that `choose` takes, upright, RGB `[F, H, W, 3]`, and the times of all frames.

    Args:
        path: the file.
        info: what `scan` found in it.
        choose: the indices of the wanted frames, given the times of all.

    Raises:
        InputError: a frame is damaged or differs in size, or none can be decoded.
    """
    rgb, times = _decode(path, choose(info.times), info)
    if times != info.times:
        # Rare: reference frames that are never shown, packets in no usable order. The decoder
        # knows better than the packets what there is to choose from.
        rgb, times = _decode(path, choose(times), info)
    return rgb, times


def first_frame(path: str | Path) -> NDArray[np.uint8]:
    """The first frame of a video file, upright, RGB `[H, W, 3]`; no other is decoded.

    Raises:
        InputError: the file has no video, or its first frame is damaged.
    """
    with _video(path) as (container, stream):
        for frame in container.decode(stream):
            if frame.is_corrupt:
                break
            return _upright(frame)
    raise InputError(f"{quoted(path)} is damaged: its first frame cannot be decoded")


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    # Both libav and numpy count rotation counter-clockwise.
    return np.rot90(frame.to_ndarray(format="rgb24"), round(frame.rotation / 90))


def _decode(
    path: str | Path, chosen: Sequence[int], info: StreamInfo
) -> tuple[NDArray[np.uint8], list[float]]:
    """One pass. Where the times are not those `chosen` was made for, frames may be missing."""
    places: dict[int, list[int]] = {}
    for place, index in enumerate(chosen):
        places.setdefault(index, []).append(place)
    rgb: NDArray[np.uint8] | None = None
    stamps: list[int | None] = []
    with _video(path) as (container, stream):
        stream.thread_type = "AUTO"
        for index, frame in enumerate(container.decode(stream)):
            stamps.append(frame.pts)
            if frame.is_corrupt:
                raise InputError(
                    f"{quoted(path)} is damaged: frame {index} (counted from 0) misses data. Copy "
                    "or render it again"
                )
            if (frame.width, frame.height) != (info.width, info.height):
                raise InputError(
                    f"{quoted(path)} changes its frame size from {info.width} x "
                    f"{info.height} to {frame.width} x {frame.height} at frame {index}; a clip "
                    "has one size. Encode it again at one size"
                )
            if index in places:
                pixels = _upright(frame)
                if rgb is None:
                    rgb = np.empty((len(chosen), *pixels.shape), np.uint8)
                rgb[places[index]] = pixels
        if rgb is None:
            raise InputError(f"{quoted(path)} is damaged: none of its frames can be decoded")
        return rgb, _seconds(stamps, stream, info.rate)


@contextmanager
def _video(
    path: str | Path,
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """An open container and its video stream; what libav raises inside becomes an InputError."""
    # An open file, so that any name works, and no protocol, so that a file opens no other file and
    # no address. Odd letters in a title are no reason to fail.
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": ""}
    with open_file(path) as file:
        try:
            with av.open(file, "r", options=options, metadata_errors="replace") as container:
                stream = _video_stream(container, path)
                try:
                    yield container, stream
                finally:
                    # Makes the decoder's threads idle: PyAV holds the GIL while it frees a decoder
                    # and waits for its threads, and a thread that logs to Python needs the GIL.
                    stream.codec_context.flush_buffers()
        except av.FFmpegError as error:
            file.seek(0)
            raise InputError(
                f"{quoted(path)} cannot be decoded as a video: {error.strerror}; "
                f"it looks like {looks_like(file.read(512))}"
            ) from error


def _video_stream(
    container: av.container.InputContainer, path: str | Path
) -> av.video.stream.VideoStream:
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue  # a song's cover is no video
        if stream.codec_context is None:
            raise InputError(
                f"{quoted(path)} holds a video that libav has no decoder for. Encode it as H.264"
            )
        return stream
    kinds = ", ".join(stream.type for stream in container.streams) or "nothing"
    raise InputError(f"{quoted(path)} has no video stream; it holds: {kinds}")


def _promised_seconds(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> float:
    """How long the file says it is; 0 where it does not say.

    In AVI, the header's number of frames: its duration libav estimates from the file's size, so
    that a file cut short would confirm itself.
    """
    if container.format.name == "avi":
        return float(stream.frames / (stream.average_rate or Fraction(25)))
    return (container.duration or 0) / 1_000_000


def _seconds(
    stamps: Sequence[int | None], stream: av.video.stream.VideoStream, rate: float
) -> list[float]:
    """Seconds since the first timestamp; evenly spaced where some are missing or out of order."""
    known = [stamp for stamp in stamps if stamp is not None]
    if len(known) < len(stamps) or known != sorted(set(known)) or stream.time_base is None:
        return [i / rate for i in range(len(stamps))]
    return [float((stamp - known[0]) * stream.time_base) for stamp in known]
