import io
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from rewardkit.errors import InputError
from rewardkit.media.images import (
    MAX_PIXELS,
    image_suffixes,
    open_rgb,
    read_image,
    to_pil,
    write_image,
)

A, B, C, D = (250, 10, 20), (30, 240, 50), (60, 70, 230), (5, 5, 5)


def grid(*rows):
    """A tensor [3, H, W] from rows of colours."""
    return torch.tensor(rows, dtype=torch.uint8).permute(2, 0, 1)


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def photo():
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((40, 30), Image.Resampling.BICUBIC)


def test_the_corpus_has_at_least_thirty_kinds(corpus):
    assert len({bad.why for bad in corpus.values()}) >= 30


def test_every_bad_picture_scores_or_fails_as_it_should(corpus):
    outcomes = {}
    pictures = {name: bad for name, bad in corpus.items() if bad.kind == "image"}
    for name, bad in pictures.items():
        try:
            assert read_image(bad.path).dtype == torch.uint8
            outcomes[name] = "score"
        except InputError:
            outcomes[name] = "error"
    assert outcomes == {name: bad.expect for name, bad in pictures.items()}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty.jpg", r"is empty \(0 bytes\)"),
        ("cut.jpg", "is damaged or cut short"),
        ("cut.webp", "is damaged or cut short"),
        ("text.jpg", "it looks like text"),
        ("film.png", "it looks like an MP4"),
        ("script.png", "it looks like a PostScript document"),
        (
            "bomb.png",
            r"60000 x 60000 = 3,600,000,000 pixels; accepted are 1 to 89,478,485\. .*raise",
        ),
        ("hdr.tiff", r"floats in 0\.\.7; accepted are 0\.\.1"),
        ("nan.tiff", r"floats in nan"),
        ("deep.tiff", r"32-bit integers in 1000000\.\.1000000; accepted are 0\.\.65535"),
    ],
)
def test_a_refusal_says_why(corpus, name, reason):
    with pytest.raises(InputError, match=reason):
        read_image(corpus[name].path)


def test_all_sources_of_one_file_give_the_same_pixels(tmp_path):
    data = encoded(photo(), "PNG")
    (tmp_path / "photo.jpeg").write_bytes(data)  # by content: the extension lies
    expected = torch.from_numpy(np.array(photo())).permute(2, 0, 1)
    with (tmp_path / "photo.jpeg").open("rb") as stream:
        sources = [tmp_path / "photo.jpeg", str(tmp_path / "photo.jpeg"), data, photo(), stream]
        for source in sources:
            assert torch.equal(read_image(source), expected)


def test_the_tensor_is_a_writable_view_of_an_array_with_channels_last():
    tensor = read_image(photo())
    assert tensor.stride() == (1, 40 * 3, 3)
    tensor += 1  # would warn or fail on read-only memory


def test_a_picture_comes_back_from_png_as_it_was(tmp_path):
    tensor = read_image(photo())
    write_image(tensor, tmp_path / "a.png")
    assert torch.equal(read_image(tmp_path / "a.png"), tensor)
    assert to_pil(tensor).tobytes() == photo().tobytes()


# Stored is A B above C D. The tag says at which side of the scene the stored first row and first
# column lie (EXIF 2.32, table 6): 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left
# top, 6 right top, 7 right bottom, 8 left bottom.
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (1, [[A, B], [C, D]]),
        (2, [[B, A], [D, C]]),
        (3, [[D, C], [B, A]]),
        (4, [[C, D], [A, B]]),
        (5, [[A, C], [B, D]]),
        (6, [[C, A], [D, B]]),
        (7, [[D, B], [C, A]]),
        (8, [[B, D], [A, C]]),
        (9, [[A, B], [C, D]]),  # no such orientation
    ],
)
def test_pictures_are_turned_upright(form, orientation, shown):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = to_pil(grid([A, B], [C, D]))
    options = {"lossless": True} if form == "WEBP" else {}
    assert torch.equal(read_image(encoded(stored, form, exif=exif, **options)), grid(*shown))


@given(st.binary(max_size=80), st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b""]))
def test_no_exif_block_spoils_a_picture(junk, start):
    plain = np.asarray(photo())
    shown = open_rgb(encoded(photo(), "PNG", exif=b"Exif\0\0" + start + junk))
    turned = [np.rot90(flip, k) for flip in (plain, plain[::-1]) for k in range(4)]
    assert any(np.array_equal(shown, other) for other in turned)


def test_odd_metadata_raises_no_warning_and_leaves_other_warnings_alone(corpus):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_image(corpus["odd-exif.jpg"].path)
        read_image(corpus["indexed.png"].path)
        assert caught == []
        with pytest.raises(InputError):
            read_image(corpus["bomb.png"].path)
        assert caught == []
        warnings.warn("mine", UserWarning, stacklevel=1)
        assert [str(warning.message) for warning in caught] == ["mine"]


def test_alpha_is_dropped_and_not_blended():
    clear = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    assert torch.equal(read_image(encoded(clear, "PNG")), grid([(10, 20, 30)] * 2))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_eight_bit_modes_are_what_pillow_converts_them_to(mode):
    picture = photo().convert(mode)
    assert np.array_equal(open_rgb(picture), picture.convert("RGB"))


# 16 bits keep their high byte: 0x00ff -> 0, 0x0100 -> 1, 0x8000 -> 128, 0xffff -> 255.
@pytest.mark.parametrize("dtype", ["<u2", ">u2", "<i4"])
def test_sixteen_bits_are_scaled_and_not_clipped(dtype):
    grey = Image.fromarray(np.array([[0x00FF, 0x0100, 0x8000, 0xFFFF]], dtype))
    expected = grid([(0,) * 3, (1,) * 3, (128,) * 3, (255,) * 3])
    assert torch.equal(read_image(encoded(grey, "TIFF")), expected)


# round(255 x), half to even: 0.5 -> 127.5 -> 128, 0.1 -> 25.5 (25.500000379 in float32) -> 26.
def test_floats_are_rounded_as_a_png_writer_would():
    grey = Image.fromarray(np.array([[0.0, 0.1, 0.5, 1.0]], np.float32))
    expected = grid([(0,) * 3, (26,) * 3, (128,) * 3, (255,) * 3])
    assert torch.equal(read_image(encoded(grey, "TIFF")), expected)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_several_is_taken(form):
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    data = encoded(red, form, save_all=True, append_images=[blue], lossless=True)
    assert read_image(data)[:, 0, 0].tolist() == [255, 0, 0]


def test_the_limit_on_pixels_includes_its_last():
    data = encoded(Image.new("RGB", (30, 20)), "PNG")
    assert read_image(data, max_pixels=600).shape == (3, 20, 30)
    with pytest.raises(InputError, match="= 600 pixels; accepted are 1 to 599"):
        read_image(data, max_pixels=599)
    with pytest.raises(InputError, match="= 600 pixels; accepted are 1 to 599"):
        read_image(Image.new("RGB", (30, 20)), max_pixels=599)


def test_the_limit_is_the_callers_and_not_pillows(corpus):
    assert MAX_PIXELS == Image.MAX_IMAGE_PIXELS
    # Its 3.6e9 pixels pass the header now, and only then are missing.
    with pytest.raises(InputError, match="is damaged or cut short"):
        read_image(corpus["bomb.png"].path, max_pixels=4 * 10**9)


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]), st.floats(0, 0.999))
def test_a_picture_cut_short_is_whole_or_an_error(form, part):
    data = encoded(photo(), form)
    cut = data[: int(len(data) * part)]
    try:
        shown = read_image(cut)
    except InputError:
        return
    assert torch.equal(shown, read_image(data))


def test_folders_are_searched_for_pictures_and_not_for_documents():
    assert {".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".bmp"} <= image_suffixes()
    assert not image_suffixes() & {".pdf", ".eps", ".ps", ".mpg", ".mpeg", ".h5", ".txt", ".mp4"}
    assert all(suffix == suffix.lower() for suffix in image_suffixes())
