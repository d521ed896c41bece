import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rewardkit.errors import InputError
from rewardkit.media.animations import is_animation, read_animation
from rewardkit.media.clips import read_clip

COLOURS = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]


def animation(path, form, durations):
    first, *others = (Image.new("RGB", (8, 6), colour) for colour in COLOURS[: len(durations)])
    options = {"duration": durations, "lossless": True}
    first.save(path, form, save_all=True, append_images=others, **options)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animated_picture_is_a_clip_with_its_own_clock(tmp_path, form):
    path = tmp_path / "a"
    animation(path, form, [100, 200, 300, 100])
    frames, times = read_animation(path, max_bytes=10**6)
    assert frames.shape == (4, 6, 8, 3)
    assert frames[:, 0, 0].tolist() == [list(colour) for colour in COLOURS]
    assert times == pytest.approx([0, 0.1, 0.3, 0.6])
    clip = read_clip(path)
    assert clip.fps == pytest.approx(3 / 0.6)
    assert clip.frames.shape == (4, 3, 6, 8)
    # At 2.5 per second: 0 and 0.4, to which 0.3, the third frame, is nearest.
    assert read_clip(path, fps=2.5).frames[:, :, 0, 0].tolist() == [[250, 0, 0], [0, 0, 250]]
    assert read_clip(path, frames=2).frames[:, :, 0, 0].tolist() == [[250, 0, 0], [250, 250, 0]]
    assert read_clip(path, frames=1).fps == pytest.approx(5)


def test_frames_without_a_duration_last_as_long_as_browsers_show_them(tmp_path):
    animation(tmp_path / "a.gif", "GIF", [0, 0, 0])
    assert read_animation(tmp_path / "a.gif", max_bytes=10**6)[1] == pytest.approx([0, 0.1, 0.2])


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_a_still_picture_is_no_clip(tmp_path, form):
    Image.new("RGB", (8, 6)).save(tmp_path / "a", form)
    with pytest.raises(InputError, match="is a single picture, not a clip"):
        read_clip(tmp_path / "a")


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_an_animation_cut_short_is_an_error(tmp_path, form):
    stream = io.BytesIO()
    noise = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8))
        for i in range(5)
    ]
    noise[0].save(stream, form, save_all=True, append_images=noise[1:], duration=100)
    data = stream.getvalue()
    for part in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        (tmp_path / "a").write_bytes(data[: int(len(data) * part)])
        with pytest.raises(InputError):
            read_clip(tmp_path / "a")


def test_the_size_of_an_animation_is_limited(tmp_path):
    animation(tmp_path / "a.gif", "GIF", [100, 100, 100])
    size = 3 * 8 * 6 * 3
    assert len(read_clip(tmp_path / "a.gif", max_bytes=size).frames) == 3
    with pytest.raises(InputError, match="more than the 431 bytes accepted for a clip"):
        read_clip(tmp_path / "a.gif", max_bytes=size - 1)


def test_a_change_of_the_frame_size_is_an_error(tmp_path):
    small, large = io.BytesIO(), io.BytesIO()
    Image.new("P", (8, 6)).save(small, "GIF")
    Image.new("P", (16, 12)).save(large, "GIF")
    # 13 bytes of header and a table of 2 colours; then the picture, then one byte as the end.
    (tmp_path / "a.gif").write_bytes(small.getvalue()[:-1] + large.getvalue()[13 + 6 :])
    with pytest.raises(InputError, match="changes its frame size at frame 1"):
        read_clip(tmp_path / "a.gif")


def test_videos_are_left_to_libav(corpus):
    assert not is_animation(Path(corpus["whole.mp4"].path).read_bytes())
