import io
import itertools

import pytest
import torch
from click.testing import CliRunner

from rewardkit.media.clips import read_clip
from rewardkit.media.images import read_image, to_pil
from rewardkit.media.ladders import clips, main, pictures
from rewardkit.media.prompts import attach
from rewardkit.media.sources import find


@pytest.fixture(scope="module")
def stills():
    return pictures()


@pytest.fixture(scope="module")
def films():
    return clips()


def rungs(media, name):
    return [media[f"{name}-{rung}"] for rung in range(5)]


def rises(values):
    return all(low < high for low, high in itertools.pairwise(values))


def jpeg_size(picture):
    stream = io.BytesIO()
    to_pil(picture).save(stream, "JPEG", quality=95)
    return len(stream.getvalue())


def roughness(picture):
    grey = picture.double().mean(0)
    return float(
        (
            4 * grey[1:-1, 1:-1]
            - grey[:-2, 1:-1]
            - grey[2:, 1:-1]
            - grey[1:-1, :-2]
            - grey[1:-1, 2:]
        ).var()
    )


def colour(picture):
    return float((picture.amax(0).double() - picture.amin(0)).mean())


MEASURES = {  # what falls from rung to rung
    "blur": roughness,
    "colour": colour,
    "contrast": lambda picture: float(picture.double().std()),
    "detail": jpeg_size,
    "exposure": lambda picture: float(picture.double().mean()),
    "noise": lambda picture: -roughness(picture),
}


def test_every_picture_ladder_has_a_measure_here(stills):
    assert {name.rpartition("-")[0] for name in stills} == set(MEASURES)
    assert sorted(stills) == list(stills)  # names sort in ladder order


@pytest.mark.parametrize("name", MEASURES)
def test_picture_ladders_descend_from_one_untouched_scene(stills, name):
    ladder = rungs(stills, name)
    assert torch.equal(ladder[0], stills["blur-0"])
    assert all(rung.shape == (3, 384, 512) and rung.dtype == torch.uint8 for rung in ladder)
    assert rises([-MEASURES[name](rung) for rung in ladder])


def change(clip):
    """Mean difference of neighbouring frames."""
    return float((clip.frames[1:].double() - clip.frames[:-1]).abs().mean())


def test_clip_ladders_rise_in_what_they_are_named_for(films):
    assert {name.rpartition("-")[0] for name in films} == {"flicker", "shake", "speed"}
    # +a and -a by turns differ by 2 a, less where that leaves 0..255.
    flicker = [change(film) for film in rungs(films, "flicker")]
    assert flicker == pytest.approx([0, 8, 16, 32, 64], rel=0.02)
    assert rises([change(film) for film in rungs(films, "shake")])
    for speed, film in zip((0, 2, 4, 8, 16), rungs(films, "speed"), strict=True):
        # Each frame is the one before, moved to the left.
        assert torch.equal(film.frames[1:, ..., : 256 - speed], film.frames[:-1, ..., speed:])
    assert all(film.frames.shape == (16, 3, 192, 256) and film.fps == 8 for film in films.values())


def test_rendering_is_the_same_each_time(stills, films):
    assert all(torch.equal(a, b) for a, b in zip(pictures().values(), stills.values(), strict=True))
    again = clips()
    assert all(torch.equal(again[name].frames, film.frames) for name, film in films.items())


def test_the_command_writes_a_folder_ready_to_be_scored(tmp_path, stills, films):
    result = CliRunner().invoke(main, [str(tmp_path / "demo")], catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (0, "")
    for kind, media in (("pictures", stills), ("clips", films)):
        found = find([str(tmp_path / "demo" / kind)])
        assert [item.id for item in found.items] == sorted(media)
        items = attach(found.items, file=tmp_path / "demo" / "prompts.jsonl")
        assert all(item.prompt and "balloons" in item.prompt for item in items)
    # Six ladders of five, 200 wide: 5 * (200 + 12) + 12; rows of 150 + 20 + 12.
    assert read_image(tmp_path / "demo/ladders.png").shape == (3, 6 * 182 + 12, 5 * 212 + 12)
    assert torch.equal(read_image(tmp_path / "demo/pictures/noise-2.png"), stills["noise-2"])
    film = read_clip(tmp_path / "demo/clips/speed-3.mp4")
    error = (film.frames.double() - films["speed-3"].frames).pow(2).mean()
    assert film.fps == 8
    assert error < 40  # 4:2:0 colour costs a little: PSNR above 32 dB
