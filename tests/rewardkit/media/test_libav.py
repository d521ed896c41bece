import io
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from badfiles import make

from rewardkit.errors import InputError
from rewardkit.media import libav


def picture(index, size=(48, 64)):
    return np.random.default_rng(index).integers(0, 256, (*size, 3), np.uint8)


def encode(
    path,
    codec,
    *,
    form=None,
    rate=10,
    size=(48, 64),
    count=20,
    sound=0,
    times=(),
    start=0,
    **options,
):
    """A video file of noise.

    `times`: when its frames begin, in milliseconds, instead of by the rate; `start`: packets left
    out at the beginning; `sound`: seconds of silence beside it; `options` go to the container.
    """
    with av.open(path, "w", format=form, container_options=options) as container:
        # Noise would make every frame a scene of its own: no frame would depend on another.
        depending = {"sc_threshold": "0", "bf": "2", "g": "5"}
        track = container.add_stream(codec, rate=rate, options=depending)
        track.height, track.width = size
        track.pix_fmt = "yuv420p"
        if times:
            track.codec_context.time_base = Fraction(1, 1000)
        silence = container.add_stream("aac", rate=48_000) if sound else None
        packets = []
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(picture(index, size), format="rgb24")
            if times:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            packets += track.encode(frame)
        packets += track.encode()
        for begin in range(0, sound * 48_000, 1024):
            samples = np.zeros((2, 1024), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, begin
            packets += silence.encode(frame)
        packets += silence.encode() if silence else []
        for packet in packets[start:]:
            container.mux(packet)


def read_all(path):
    return libav.decode(path, libav.scan(path), lambda times: range(len(times)))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {}),  # with B-frames: packets are out of order
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("a.mp4", "libx264", {"sound": 5}),  # the sound outlasts the film
        ("a.mov", "mpeg4", {}),
        ("a.mkv", "libx264", {"sound": 5}),
        ("a.webm", "libvpx", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
        ("a.avi", "libx264", {}),  # AVI has no place for the order of B-frames
        ("a.mpg", "mpeg2video", {"rate": 25}),
        ("a.ts", "libx264", {}),
    ],
)
def test_whole_files_of_every_container_are_read_whole(tmp_path, name, codec, options):
    path = str(tmp_path / name)
    encode(path, codec, **options)
    rgb, times = read_all(path)
    rate = options.get("rate", 10)
    assert times == pytest.approx([i / rate for i in range(20)], abs=2e-3)
    for index, frame in enumerate(rgb):  # the right frame in the right place
        distance = [np.abs(frame - picture(i).astype(float)).mean() for i in range(20)]
        assert int(np.argmin(distance)) == index


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mp4", "libx264", {"movflags": "faststart", "sound": 2}),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx-vp9", {}),
        ("a.avi", "mpeg4", {}),
    ],
)
def test_a_file_cut_short_is_an_error_or_lacks_hardly_a_frame(tmp_path, name, codec, options):
    path = tmp_path / name
    encode(str(path), codec, **options)
    whole, data = read_all(path)[0], path.read_bytes()
    errors = 0
    for part in np.linspace(0.02, 0.98, 25):
        path.write_bytes(data[: int(len(data) * part)])
        try:
            rgb, _ = read_all(path)
        except InputError:
            errors += 1
            continue
        assert len(rgb) >= 17  # of 20: a quarter of a second, and what that is rounded to
        assert all(any(np.array_equal(frame, known) for known in whole) for frame in rgb)
    assert errors >= 18


def remux(source, target, seconds, **options):
    """Copies the packets of a video, moved in time."""
    with av.open(source) as old, av.open(target, "w", container_options=options) as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                moved = round(Fraction(seconds) / packet.time_base)
                packet.pts, packet.dts = packet.pts + moved, packet.dts + moved
                packet.stream = track
                new.mux(packet)


def test_frames_that_an_edit_list_hides_are_not_shown(tmp_path):
    whole, cut = str(tmp_path / "whole.mp4"), str(tmp_path / "cut.mp4")
    encode(whole, "libx264")
    assert len(libav.scan(whole).times) == 20
    # The first 0.7 s lie before time zero; they are stored because later frames need them.
    remux(whole, cut, Fraction(-7, 10), avoid_negative_ts="disabled")
    assert len(libav.scan(cut).times) == 13
    rgb, times = read_all(cut)
    assert np.array_equal(rgb, read_all(whole)[0][7:])
    assert times == pytest.approx([i / 10 for i in range(13)])


def test_frames_before_the_first_that_can_be_decoded_are_left_out(tmp_path):
    # Without the first packet, four frames depend on one that is missing, and libav drops them.
    whole, late = str(tmp_path / "whole.mkv"), str(tmp_path / "late.mkv")
    encode(whole, "libx264")
    encode(late, "libx264", start=1)
    contents = libav.scan(late)
    assert len(contents.times) == 19
    rgb, times = libav.decode(late, contents, lambda times: [0, len(times) - 1])
    assert np.array_equal(rgb, read_all(whole)[0][[5, 19]])
    assert times == pytest.approx([i / 10 for i in range(15)])


def test_uneven_times_are_known_before_decoding_though_packets_are_out_of_order(tmp_path):
    times = [0, 40, 100, 140, 300, 340, 400, 440, 500, 540, 600, 900, 940, 1000, 1040, 1100, 1140]
    encode(str(tmp_path / "a.mp4"), "libx264", count=17, times=times)
    contents = libav.scan(tmp_path / "a.mp4")
    assert contents.times == [time / 1000 for time in times]
    assert read_all(tmp_path / "a.mp4")[1] == contents.times


def test_a_clock_that_starts_late_is_moved_to_zero(tmp_path):
    whole, late = str(tmp_path / "whole.mp4"), str(tmp_path / "late.mp4")
    encode(whole, "libx264")
    remux(whole, late, 5)
    assert read_all(late)[1] == pytest.approx([i / 10 for i in range(20)])


def test_frames_without_timestamps_are_spaced_by_the_rate(tmp_path):
    encode(str(tmp_path / "a.h264"), "libx264", form="h264")
    _, times = read_all(tmp_path / "a.h264")
    assert times == pytest.approx([i / 10 for i in range(20)])


def test_a_change_of_the_frame_size_is_an_error(tmp_path):
    for name, size in (("a", (48, 64)), ("b", (32, 32))):
        encode(str(tmp_path / name), "libx264", form="h264", count=3, size=size)
    both = tmp_path / "both.h264"
    both.write_bytes((tmp_path / "a").read_bytes() + (tmp_path / "b").read_bytes())
    with pytest.raises(InputError, match="from 64 x 48 to 32 x 32 at frame 3; a clip has one size"):
        read_all(both)


def test_a_turned_film_is_shown_upright(tmp_path):
    # White on the left; turned a quarter counter-clockwise, as its matrix says, white is below.
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:, :32] = 255
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        track = container.add_stream("libx264", rate=10)
        track.height, track.width, track.pix_fmt = 32, 64, "yuv420p"
        track.set_display_rotation(90)
        container.mux(track.encode(av.VideoFrame.from_ndarray(stored, format="rgb24")))
        container.mux(track.encode())
    (shown,), _ = read_all(tmp_path / "a.mp4")
    assert shown.shape == (64, 32, 3)
    assert shown[:24].max() < 30
    assert shown[40:].min() > 225


def test_the_cover_of_a_song_is_no_film(tmp_path):
    from av.stream import Disposition

    path = str(tmp_path / "song.mp4")
    with av.open(path, "w") as container:
        silence = container.add_stream("aac", rate=48_000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(picture(0, (32, 32)), format="rgb24")
        container.mux(cover.encode(frame))
        container.mux(cover.encode())
        samples = av.AudioFrame.from_ndarray(
            np.zeros((2, 1024), np.float32), format="fltp", layout="stereo"
        )
        samples.sample_rate = 48_000
        container.mux(silence.encode(samples))
        container.mux(silence.encode())
    with pytest.raises(InputError, match="has no video stream; it holds: audio, video"):
        libav.scan(path)


def test_a_script_posing_as_a_clip_opens_no_other_file(tmp_path):
    encode(str(tmp_path / "secret.mp4"), "libx264")
    script = tmp_path / "script.mp4"
    script.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(InputError, match="cannot be decoded as a video"):
        libav.scan(script)


def test_libav_writes_nothing_to_stderr(tmp_path, capfd):
    for bad in make(tmp_path / "corpus").values():
        if bad.kind == "video":
            try:
                read_all(bad.path)
            except InputError:
                continue
    assert capfd.readouterr().err == ""


LOGGED = """
import sys
import av
from rewardkit.errors import InputError
from rewardkit.media import libav

av.logging.set_level(av.logging.ERROR)
for _ in range(50):
    try:
        libav.decode(sys.argv[1], libav.scan(sys.argv[1]), lambda times: range(len(times)))
    except InputError as error:
        assert "is damaged" in str(error)
"""


def test_a_damaged_clip_is_refused_while_libav_logs_to_python(tmp_path):
    # As torchvision before 0.26 makes it do. In a process of its own: a deadlock holds the GIL.
    damaged = make(tmp_path / "corpus")["damaged.mp4"].path
    subprocess.run([sys.executable, "-c", LOGGED, damaged], check=True, timeout=60)


def test_a_file_object_is_closed_again(tmp_path, monkeypatch):
    opened = []
    encode(str(tmp_path / "a.mp4"), "libx264")
    data = (tmp_path / "a.mp4").read_bytes()

    def open_file(path):
        opened.append(io.BytesIO(data))
        return opened[-1]

    monkeypatch.setattr(libav, "open_file", open_file)
    read_all(tmp_path / "a.mp4")
    assert [stream.closed for stream in opened] == [True, True]
