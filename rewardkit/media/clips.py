"""Clips in files: read as uint8 RGB frames with their true rate, and written as mp4."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from rewardkit.media.batch import Clip
from rewardkit.media.decoding import MAX_CLIP_BYTES, decode_clip


def read_clip(
    path: str | Path,
    *,
    fps: float | None = None,
    frames: int | None = None,
    max_bytes: int = MAX_CLIP_BYTES,
) -> Clip:
    """The clip in a file: every frame, or those `sample_indices` chooses by `fps` or `frames`.

    Rotation stored beside the frames is applied. The frames are a view of an `[F, H, W, 3]` array.
    `Clip.fps` is the rate of what was chosen: `fps` where that was given, else
    `(n - 1) / (last - first)` over the chosen frames' times, or the stream's rate for a single one.
    `Clip.stated_fps` is the container's word on a video of which every frame is read.
    `Clip.repeats` is true where more frames were to be chosen than there are.

    Raises:
        UsageError: both `fps` and `frames` are given, or one is not positive.
        InputError: the file cannot be opened, has no video, is cut short or damaged, changes its
            frame size, or the chosen frames would take more than `max_bytes`.
    """
    return Clip(*decode_clip(path, fps=fps, frames=frames, max_bytes=max_bytes))


def write_clip(clip: Clip, path: str | Path) -> None:
    """Writes a clip as mp4 with H.264, close to lossless, at its frame rate.

    Even sizes are stored as yuv420p, which every player shows; odd ones as yuv444p, because 4:2:0
    halves both sides and would have to add a row or drop one.
    """
    import av

    _, _, height, width = clip.frames.shape
    with av.open(str(path), "w", format="mp4") as container:
        # One thread: x264 splits its work by their number, and the file should not depend on it.
        stream = container.add_stream(
            "libx264",
            rate=Fraction(clip.fps).limit_denominator(1001),
            options={"crf": "10", "threads": "1"},
        )
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
        for frame in clip.frames.permute(0, 2, 3, 1).contiguous().cpu().numpy():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
