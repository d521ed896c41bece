"""The detector says of each picture what it would say of it alone, and is not let loose blind."""

import hashlib
from importlib import resources

import numpy as np
import pytest
import torch
from golden.mask2former import weights
from pictures import picture
from safetensors.torch import load_file, save_file

from rewardkit.engine.loader import Loader
from rewardkit.errors import WeightsError
from rewardkit.geneval import convert, network
from rewardkit.geneval.convert import CONVERTED
from rewardkit.geneval.detector import META, ObjectDetector
from rewardkit.geneval.names import CLASSES
from rewardkit.media.batch import Sample
from rewardkit.media.images import read_image

SIZES = ((96, 96), (96, 160), (96, 96), (160, 96), (300, 300), (96, 160))
PICTURES = [picture(seed, *size) for seed, size in enumerate(SIZES)]
PORTRAIT = resources.files("rewardkit.geneval").joinpath("portrait.jpg").read_bytes()


@pytest.fixture(scope="module")
def tiny():
    return ObjectDetector.load(CONVERTED, Loader("cpu", tiny=True))


def look(seer, media):
    return seer.features([seer.prepare(Sample(medium)) for medium in media])


def same(found, other):
    assert list(found.boxes) == list(other.boxes)
    for name, rows in found.boxes.items():
        np.testing.assert_allclose(rows, other.boxes[name], rtol=0, atol=1e-5)
        assert (found.masks[name] != other.masks[name]).sum() <= 2 * len(rows)


def test_what_is_found_is_of_the_picture_and_in_its_pixels(tiny):
    for medium, found in zip(PICTURES, look(tiny, PICTURES), strict=True):
        assert torch.equal(found.picture, medium)
        assert found.boxes and found.boxes.keys() == found.masks.keys() <= set(CLASSES)
        for name, rows in found.boxes.items():
            masks = found.masks[name]
            assert rows.dtype == np.float32 and rows.shape == (len(masks), 5)
            assert masks.dtype == torch.bool and masks.shape[1:] == medium.shape[1:]
            for (x1, y1, x2, y2, score), mask in zip(rows.tolist(), masks, strict=True):
                y, x = mask.nonzero(as_tuple=True)
                assert (x1, y1, x2, y2) == (x.min(), y.min(), x.max() + 1, y.max() + 1)
                assert 0 < score < 1


def test_a_batch_changes_nothing(tiny, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        tiny.network,
        "forward",
        lambda forward=tiny.network.forward, **kw: (
            sizes.append(len(kw["pixel_values"])) or forward(**kw)
        ),
    )
    together = look(tiny, PICTURES)
    assert sorted(sizes) == [1, 2, 3], "of one size together, whatever is between"
    for medium, found in zip(PICTURES, together, strict=True):
        same(*look(tiny, [medium]), found)


def test_classes_are_named_by_position(tiny, monkeypatch):
    """Three of COCO's have longer names here: the order is what both share."""
    seen = tiny.network(pixel_values=torch.zeros(1, 3, 96, 96))
    seen.class_queries_logits = torch.full((1, 20, 81), -9.0)
    for query, label in enumerate((0, 64, 65, 66, 79, 80)):  # the last is "no object"
        seen.class_queries_logits[0, query, label] = 9.0
    seen.masks_queries_logits = torch.full((1, 20, 24, 24), 5.0)
    monkeypatch.setattr(tiny.network, "forward", lambda **_: seen)
    (found,) = look(tiny, PICTURES[:1])
    assert list(found.boxes) == [
        "person", "computer mouse", "tv remote", "computer keyboard", "toothbrush"
    ]  # fmt: skip


def test_it_computes_in_full_precision_whatever_is_around(tiny):
    loaded = ObjectDetector.load(CONVERTED, Loader("cpu", "bfloat16", tiny=True))
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        same(*look(tiny, PICTURES[:1]), *look(loaded, PICTURES[:1]))


def stub(monkeypatch, seer, label, logit, box):
    """Makes `seer` see one thing, in a box told in parts of the picture."""
    real = seer.network.forward

    def forward(pixel_values):
        seen = real(pixel_values=pixel_values)
        seen.class_queries_logits = torch.zeros(1, 20, 81)
        seen.class_queries_logits[0, 0, label] = logit
        height, width = seen.masks_queries_logits.shape[2:]
        masks = torch.full((1, 20, height, width), -5.0)
        x1, y1, x2, y2 = box
        masks[..., int(y1 * height) : int(y2 * height), int(x1 * width) : int(x2 * width)] = 5.0
        seen.masks_queries_logits = masks
        return seen

    monkeypatch.setattr(seer.network, "forward", forward)


LARGE = (0.0, 0.05, 1.0, 1.0)


@pytest.mark.parametrize(
    ("label", "logit", "box", "message"),
    [
        (0, 12.0, LARGE, None),
        (0, 12.0, (0.0, 0.0, 0.5, 0.5), "at best a person, with 0.98"),
        (16, 12.0, LARGE, "at best a dog, with 0.99"),
        (0, 0.0, LARGE, "nothing at all"),
        (0, 3.0, LARGE, "nothing at all"),
    ],
)
def test_a_detector_that_does_not_see_a_person_is_refused(
    tiny, monkeypatch, label, logit, box, message
):
    stub(monkeypatch, tiny, label, logit, box)
    if message is None:
        tiny.check_sight()
    else:
        with pytest.raises(WeightsError, match=f"is blind: .* but {message}.* on cpu"):
            tiny.check_sight()


def test_the_self_test_picture_is_the_public_one():
    assert hashlib.sha256(PORTRAIT).hexdigest() == (
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"
    )
    assert read_image(PORTRAIT).shape == (3, 600, 512)


@pytest.fixture
def files(home, monkeypatch):
    """A small file for each detector, as a conversion and the hub would give them."""
    small = network.tiny()
    monkeypatch.setattr(network, "config", lambda: small)
    net = network.build(small)
    net.save_pretrained(home / "saved")
    path = home / "saved" / "model.safetensors"
    state = weights(load_file(path))
    save_file(state, home / "meta.safetensors", {"format": "pt"})
    save_file(state, home / "converted.safetensors", {"source_sha256": convert.SHA256 + "0" * 56})
    return {
        CONVERTED.name: home / "converted.safetensors",
        META.name: home / "meta.safetensors",
    }


@pytest.mark.parametrize("source", [CONVERTED, META])
def test_weights_are_loaded_and_then_shown_the_self_test_picture(files, monkeypatch, source):
    with pytest.raises(WeightsError, match="is blind"):
        ObjectDetector.load(source, Loader("cpu", weights=files))
    monkeypatch.setattr(ObjectDetector, "check_sight", lambda self: None)
    loader = Loader("cpu", weights=files)
    loaded = ObjectDetector.load(source, loader)
    assert loader.located[source.name].path == files[source.name]
    assert not loaded.network.training
    expected = weights({"class_predictor.bias": torch.zeros(81)})["class_predictor.bias"]
    assert torch.equal(loaded.network.class_predictor.bias, expected)


def test_metas_weights_do_not_go_by_genevals_name(files):
    with pytest.raises(WeightsError, match="is not GenEval's converted detector"):
        ObjectDetector.load(CONVERTED, Loader("cpu", weights={CONVERTED.name: files[META.name]}))


def test_without_weights_it_is_told_what_to_do(home):
    with pytest.raises(WeightsError) as caught:
        ObjectDetector.load(CONVERTED, Loader("cpu"))
    assert f"download {convert.URL} and run: rewardkit bench convert-geneval-detector" in str(
        caught.value
    )


DAMAGES = {
    "removed": lambda state, key: {k: t for k, t in state.items() if k != key},
    "added": lambda state, key: {**state, f"another.{key}": state[key].clone()},
    "renamed": lambda state, key: {(f"x{k}" if k == key else k): t for k, t in state.items()},
    "NaN": lambda state, key: {**state, key: torch.full_like(state[key], torch.nan)},
    "reshaped": lambda state, key: {**state, key: state[key][:-1].clone()},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_of_the_detector_are_refused(files, damage):
    path = files[META.name]
    state = load_file(path)
    save_file(DAMAGES[damage](state, "class_predictor.weight"), path, {"format": "pt"})
    with pytest.raises(WeightsError, match=r"meta\.safetensors cannot be loaded"):
        ObjectDetector.load(META, Loader("cpu", weights=files))
