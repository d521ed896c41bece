"""Objects are cut out and told their colours as upstream does it, on the same random weights."""

import hashlib
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from golden.clip import tiny
from golden.cutouts import cutouts, load, picture_of
from parity import ATOL, MOVED, upstream_state
from safetensors.torch import save_file

from rewardkit.engine.encoders import ClipEncoder
from rewardkit.engine.loader import Loader
from rewardkit.engine.openai_clip import VIT_L_14
from rewardkit.errors import InputError
from rewardkit.geneval import colours
from rewardkit.geneval.colours import ColourClassifier, crop
from rewardkit.geneval.names import COLOURS
from rewardkit.geneval.rules import judge

GOLDEN = load()
CUTOUTS = list(cutouts())


@pytest.fixture
def loader(home, monkeypatch):
    """A loader of the small CLIP that upstream's code was given."""
    config_of = open_clip.get_model_config
    monkeypatch.setattr(
        open_clip,
        "get_model_config",
        lambda name: config_of(name) | tiny(config_of(name)["embed_dim"]),
    )
    file = home / "clip.safetensors"
    state = upstream_state(768, None)
    save_file({key: value.contiguous() for key, value in state.items()}, file)
    return Loader("cpu", weights={"clip.vit-l-14": file})


@pytest.fixture
def classifier(loader):
    return ColourClassifier(ClipEncoder.shared(VIT_L_14, loader))


def cut(cutout):
    return crop(picture_of(cutout), cutout.box, cutout.mask)


def cosines(classifier, cutout):
    encoder = classifier._encoder
    image = encoder.features([encoder.resized(cut(cutout))]).image
    return (image @ classifier.classifier(cutout.name).T)[0]


def worst(classifier):
    return max(
        float((cosines(classifier, cutout) - torch.tensor(expected)).abs().max())
        for cutout, expected in zip(CUTOUTS, GOLDEN.cosines, strict=True)
    )


def test_crops_are_upstreams_to_the_pixel():
    for cutout, size, pixels in zip(CUTOUTS, GOLDEN.sizes, GOLDEN.pixels, strict=True):
        ours = cut(cutout)
        assert (ours.shape[2], ours.shape[1]) == size
        rows = ours.permute(1, 2, 0).contiguous().numpy().tobytes()
        assert hashlib.sha256(rows).hexdigest() == pixels


def test_the_sentences_are_embedded_as_upstream_does(classifier):
    for name, expected in GOLDEN.classifiers.items():
        ours = classifier.classifier(name)
        torch.testing.assert_close(ours[:, ::48], torch.tensor(expected), rtol=0, atol=ATOL)
        torch.testing.assert_close(ours.norm(dim=1), torch.ones(10), rtol=0, atol=ATOL)
    first, second = list(GOLDEN.classifiers.values())[:2]
    assert np.abs(np.subtract(first, second)).max() > MOVED


def test_colours_are_upstreams(classifier):
    assert worst(classifier) <= ATOL
    assert len(set(GOLDEN.names)) > 2
    for cutout, name, near in zip(CUTOUTS, GOLDEN.names, GOLDEN.cosines, strict=True):
        (ours,) = classifier.colours(cutout.name, [cut(cutout)])
        # Of two colours that are as near as the tolerance, either is upstream's.
        assert near[COLOURS.index(ours)] >= near[COLOURS.index(name)] - ATOL
        assert ours == name or np.ptp(sorted(near)[-2:]) <= 2 * ATOL


@pytest.mark.parametrize(
    "change",
    [
        ("TEMPLATES", colours.TEMPLATES[:2]),
        ("TEMPLATES", ("a photo of the {colour} {name}", *colours.TEMPLATES[1:])),
        ("GREY", 152),
    ],
)
def test_another_sentence_or_grey_gives_other_numbers(change, classifier, monkeypatch):
    monkeypatch.setattr(colours, *change)
    assert worst(classifier) > ATOL


def test_a_tiny_loader_gives_a_small_random_network():
    found = ColourClassifier(ClipEncoder.shared(VIT_L_14, Loader("cpu", tiny=True)))
    assert set(found.colours("cup", [cut(cutout) for cutout in CUTOUTS[:3]])) <= set(COLOURS)


def test_sentences_of_a_class_are_embedded_once(classifier, monkeypatch):
    first = classifier.classifier("cup")
    monkeypatch.setattr(classifier._encoder, "encode_text", None)
    assert classifier.classifier("cup") is first


def test_of_equally_near_colours_the_first_is_taken(loader):
    found = ColourClassifier(ClipEncoder.shared(VIT_L_14, loader), ["red", "red ", "red"])
    found._classifiers["cup"] = torch.zeros(3, 768)  # equal to the bit on every machine
    assert found.colours("cup", [cut(CUTOUTS[0])]) == ["red"]


# Of one picture.


def disc(colour, row, size=40):
    """A picture's square of a colour at a place, with its box and mask."""
    mask = np.zeros((200, 200), bool)
    mask[row : row + size, 20 : 20 + size] = True
    return mask, [20.0, row, 20.0 + size, row + size], colour


class Reader(ColourClassifier):
    """Reads the colour in the middle of each crop, and counts how often it is asked."""

    def __init__(self):
        self.asked = []

    def colours(self, name, crops):
        self.asked.append((name, len(crops)))
        levels = {(255, 0, 0): "red", (0, 0, 255): "blue"}
        return [levels[tuple(c[:, c.shape[1] // 2, c.shape[2] // 2].tolist())] for c in crops]


def scene(*things):
    """A picture of squares, their rows of scores, and their masks."""
    picture = torch.zeros(3, 200, 200, dtype=torch.uint8)
    boxes, masks = [], []
    for mask, box, (colour, score) in things:
        picture[:, torch.from_numpy(mask)] = torch.tensor(colour, dtype=torch.uint8)[:, None]
        boxes.append([*box, score])
        masks.append(mask)
    return picture, {"cup": np.array(boxes, np.float32)}, {"cup": np.array(masks)}


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_an_object_is_known_by_its_row_and_all_go_together(kind):
    things = [disc((RED, 0.5), 0), disc((BLUE, 0.9), 60), disc((BLUE, 0.8), 120)]
    picture, boxes, masks = scene(*things)
    reader = Reader()
    colour_of = reader.of(picture, boxes, {name: kind(mask) for name, mask in masks.items()})
    line = {"tag": "colors", "include": [{"class": "cup", "count": 2, "color": "blue"}]}
    assert judge(line, boxes, colour_of).correct
    assert reader.asked == [("cup", 2)]
    assert colour_of("cup", boxes["cup"]) == ["red", "blue", "blue"]


def test_of_equal_rows_the_later_is_asked_about_first():
    # One box, two masks: the later one's is the inside, which is blue.
    mask, box, _ = disc(None, 0)
    inner = np.zeros_like(mask)
    inner[15:25, 35:45] = True
    hollow = mask & ~inner
    picture = torch.zeros(3, 200, 200, dtype=torch.uint8)
    picture[2, torch.from_numpy(inner)] = 255
    boxes = {"cup": np.array([[*box, 0.9]] * 2, np.float32)}
    first, second = Cutter().of(picture, boxes, {"cup": np.array([hollow, inner])})(
        "cup", boxes["cup"]
    )
    assert (first, second) == ([0, 0, 255], [153, 153, 153])


class Cutter(ColourClassifier):
    """Gives the pixel in the middle of each crop."""

    def __init__(self):
        pass

    def colours(self, name, crops):
        return [c[:, c.shape[1] // 2, c.shape[2] // 2].tolist() for c in crops]


def test_what_cannot_be_cut_out_is_refused():
    cutout = CUTOUTS[0]
    with pytest.raises(InputError, match=r"mask of shape \[3, 3\]"):
        cut(replace(cutout, mask=np.ones((3, 3), bool)))
    with pytest.raises(InputError, match="holds no pixel"):
        cut(replace(cutout, box=np.array([5.5, 5, 6.4, 9, 1], np.float32)))
