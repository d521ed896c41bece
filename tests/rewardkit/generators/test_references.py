"""Image-to-video starts from the pictures that prompt lines name; all are checked beforehand."""

import json

import pytest
import tiny_videos
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_videos import LONG

from rewardkit.cli import main
from rewardkit.errors import InputError, UsageError
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.gallery import make_gallery
from rewardkit.generators.noise import sample_seed
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.references import check_shapes, reference_files
from rewardkit.generators.requests import Request
from rewardkit.media.clips import read_clip, write_clip
from rewardkit.media.images import read_image
from rewardkit.media.manifests import read_manifest
from rewardkit.media.prompts import PromptLine, read

I2V = FAMILIES["WanImageToVideoPipeline"]
OPTIONS = (
    "--steps 2 --guidance 4 --height 16 --width 16 --frames 5 --fps 8 --max-sequence-length 512"
)


@pytest.fixture(scope="module")
def wan_i2v(tmp_path_factory):
    home = tmp_path_factory.mktemp("wan")
    return load(tiny_videos.saved("wan-i2v", home), device="cpu")


@pytest.fixture
def prompts(tmp_path):
    """A file of two prompts whose pictures lie in a folder beside it."""
    (tmp_path / "lists" / "frames").mkdir(parents=True)
    lines = []
    for name, colour in (("red", (200, 0, 0)), ("blue", (0, 0, 200))):
        Image.new("RGB", (16, 16), colour).save(tmp_path / "lists" / "frames" / f"{name}.png")
        lines.append({"prompt": f"a {name} ring", "image": f"frames/{name}.png", "tag": name})
    path = tmp_path / "lists" / "prompts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_command_makes_clips_from_the_pictures_of_the_lines(wan_i2v, prompts, tmp_path):
    command = f"generate {wan_i2v.folder} -p {prompts} -o {tmp_path}/clips --device cpu {OPTIONS}"
    done = CliRunner().invoke(main, command.split())
    assert done.exit_code == 0, done.output
    for index, (name, line) in enumerate(zip(("red", "blue"), read(prompts), strict=True)):
        picture = read_image(prompts.parent / "frames" / f"{name}.png")
        request = Request(line.prompt, sample_seed(0, index, 0), {"first_frame": picture})
        (clip,) = generate(wan_i2v, [request], protocol=LONG)
        write_clip(clip, tmp_path / "same.mp4")
        made = read_clip(tmp_path / "clips" / f"0000{index}-00.mp4")
        assert torch.equal(made.frames, read_clip(tmp_path / "same.mp4").frames)
    first, second = read_manifest(tmp_path / "clips" / "manifest.jsonl")
    assert first.meta.keys() == {"tag", "first_frame", "seed"}
    assert (tmp_path / "clips" / second.meta["first_frame"]).samefile(
        prompts.parent / "frames" / "blue.png"
    )


def test_a_folder_is_not_resumed_from_another_picture(wan_i2v, prompts, tmp_path):
    make_gallery(wan_i2v, read(prompts), tmp_path / "clips", protocol=LONG)
    before = (tmp_path / "clips" / "00000-00.mp4").read_bytes()
    (tmp_path / "clips" / "00000-00.mp4").unlink()
    make_gallery(wan_i2v, read(prompts), tmp_path / "clips", protocol=LONG)
    assert (tmp_path / "clips" / "00000-00.mp4").read_bytes() == before
    Image.new("RGB", (16, 16), "green").save(prompts.parent / "frames" / "red.png")
    with pytest.raises(UsageError, match="made in another way: references was"):
        make_gallery(wan_i2v, read(prompts), tmp_path / "clips", protocol=LONG)


def animation(path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_text("no picture"), "cannot be read as a picture; .* text"),
        # Texts that decoders of Pillow's take for their own.
        (lambda path: path.write_text("a\n"), "cannot be read as a picture; .* text"),
        (lambda path: path.write_text("P1 a ring"), "cannot be read as a picture; .* text"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "damaged or cut short"),
        (
            lambda path: Image.new("RGBA", (16, 16), (1, 2, 3, 0)).save(path),
            "transparent in places",
        ),
        (animation, r"animated \(2 frames\)"),
    ],
)
def test_what_cannot_be_a_first_frame_is_refused_by_line_before_anything_is_made(
    spoil, why, wan_i2v, prompts, tmp_path
):
    spoil(prompts.parent / "frames" / "blue.png")
    with pytest.raises(InputError, match=rf"line 2: the first frame '.*blue\.png'.* {why}"):
        make_gallery(wan_i2v, read(prompts), tmp_path / "clips", protocol=LONG)
    assert not (tmp_path / "clips").exists()


def test_a_line_without_a_picture_is_named():
    lines = [PromptLine("'p.jsonl', line 1", "a ring")]
    with pytest.raises(InputError, match=r"line 1: it names no first frame.*under the key 'image'"):
        reference_files(lines, I2V)


@pytest.mark.parametrize("path", [3, ["a.png"]])
def test_a_first_frame_that_is_no_path_is_named(path):
    lines = [PromptLine("'p.jsonl', line 1", "a ring", {"image": path})]
    with pytest.raises(InputError, match=r"line 1: the first frame is named by the path.*given"):
        reference_files(lines, I2V)


def test_an_opaque_alpha_channel_is_no_transparency(prompts):
    picture = prompts.parent / "frames" / "red.png"
    Image.new("RGBA", (16, 16), (1, 2, 3, 255)).save(picture)
    assert reference_files(read(prompts), I2V)[0] == {"first_frame": picture}


def test_the_references_own_name_goes_before_the_common_key(prompts):
    meta = {"image": "none.png", "first_frame": "frames/red.png"}
    line = PromptLine("here", "a ring", meta, prompts.parent)
    found = {"first_frame": prompts.parent / "frames" / "red.png"}
    assert reference_files([line], I2V) == [found]
    assert reference_files([line], FAMILIES["WanPipeline"]) == [{}]
    assert reference_files([line], FAMILIES["Flux2KleinPipeline"]) == [{}]


@pytest.mark.parametrize("shape", [(24, 16), (16, 24)])
def test_a_first_frame_of_another_shape_is_refused_by_line_before_anything_is_made(
    shape, wan_i2v, prompts, tmp_path
):
    Image.new("RGB", shape).save(prompts.parent / "frames" / "blue.png")
    told = rf"line 2: the first frame '.*blue\.png' is {shape[0]} x {shape[1]} pixels, and the clip"
    with pytest.raises(InputError, match=rf"{told} 16 x 16: .* stretched by 50%\. Crop it"):
        make_gallery(wan_i2v, read(prompts), tmp_path / "clips", protocol=LONG)
    assert not (tmp_path / "clips").exists()


@pytest.mark.parametrize(
    ("size", "height", "width", "fits"),
    [
        ((1920, 1080), 480, 832, True),  # 2.6 % from 16:9
        ((1920, 1080), 480, 640, False),
        ((64, 40), 400, 640, True),
        ((103, 100), 100, 100, True),
        ((104, 100), 100, 100, False),
        ((100, 104), 100, 100, False),
    ],
)
def test_a_first_frame_is_scaled_and_hardly_stretched(tmp_path, size, height, width, fits):
    path = tmp_path / "first.png"
    Image.new("1", size).save(path)
    references = [("here", {"first_frame": path})]
    if fits:
        return check_shapes(references, height, width)
    with pytest.raises(InputError, match="here: the first frame"):
        check_shapes(references, height, width)


def test_a_photo_has_the_shape_in_which_it_is_shown(tmp_path):
    photo, exif = Image.new("RGB", (20, 10)), Image.Exif()
    exif[274] = 6  # turned by a quarter
    photo.save(tmp_path / "photo.jpg", exif=exif)
    check_shapes([("here", {"first_frame": tmp_path / "photo.jpg"})], 20, 10)
    # A picture to edit has the shape that it has.
    check_shapes([("here", {"source": tmp_path / "photo.jpg"})], 10, 20)


def test_a_text_length_at_which_wan_takes_its_picture_for_text_is_refused(wan_i2v):
    for length in (16, 226):
        with pytest.raises(UsageError, match=f"text from picture by .* of 512; {length} was given"):
            generate(
                wan_i2v, [Request("a", 0)], protocol=LONG.changed({"max_sequence_length": length})
            )
