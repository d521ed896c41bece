"""What a user may hand over as media and prompts: accepted, or refused with what is accepted."""

import numpy as np
import pytest
import torch
from PIL import Image

import rewardkit
from rewardkit.errors import InputError, ScoringError, UsageError
from rewardkit.media.batch import Batch, Clip, to_medium
from rewardkit.media.clips import read_clip, write_clip

PIXELS = (np.arange(4 * 5 * 3) % 251).astype(np.uint8).reshape(4, 5, 3)
EXPECTED = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1)


@pytest.fixture
def path(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("form", ["path", "text", "pil", "tensor", "chw", "hwc", "float", "batch"])
def test_one_medium_is_a_batch_of_one(path, form):
    single = {
        "path": path,
        "text": str(path),
        "pil": Image.fromarray(PIXELS),
        "tensor": EXPECTED,
        "chw": EXPECTED.numpy(),
        "hwc": PIXELS,
        "float": EXPECTED / 255,
        "batch": EXPECTED[None],
    }[form]
    batch = Batch.of(single, "a text")
    assert len(batch) == 1 and torch.equal(batch.media[0], EXPECTED)
    assert rewardkit.create("contrast")(single).shape == (1,)
    assert rewardkit.scorer("contrast")(single, "a text")["contrast"].shape == (1,)


def test_one_clip_is_a_batch_of_one():
    clip = Clip(torch.zeros(3, 3, 4, 4, dtype=torch.uint8), 8.0)
    assert Batch.of(clip).media == [clip]


def test_the_path_of_a_clip_is_that_clip_and_scores_as_its_folder_does(tmp_path):
    noise = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (5, 3, 16, 24), generator=noise, dtype=torch.uint8)
    write_clip(Clip(frames, 8.0), tmp_path / "a.MP4")
    read = read_clip(tmp_path / "a.MP4")
    for path in (tmp_path / "a.MP4", str(tmp_path / "a.MP4")):
        medium = to_medium(path)
        assert isinstance(medium, Clip) and torch.equal(medium.frames, read.frames)
        assert (medium.fps, medium.stated_fps) == (read.fps, read.stated_fps)
    (row,) = rewardkit.score_folder(tmp_path, "temporal-stability").rows
    scores = rewardkit.scorer("temporal-stability")([tmp_path / "a.MP4"])
    assert scores["temporal-stability"].item() == row.scores["temporal-stability"]
    (tmp_path / "b.mp4").write_text("no clip")
    with pytest.raises(ScoringError, match=r"sample 1.*'.*b\.mp4' cannot be decoded as a video"):
        rewardkit.scorer("temporal-stability")([tmp_path / "a.MP4", tmp_path / "b.mp4"])


class OnGpu(torch.Tensor):
    """A tensor of a GPU: numpy and PIL read none."""

    device = torch.device("cuda", 0)

    def numpy(self):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


@pytest.mark.parametrize("floats", [False, True])
def test_pictures_on_a_gpu_are_scored_as_they_are_on_the_cpu(floats):
    pictures = torch.stack([EXPECTED, EXPECTED.flip(0)])
    source = pictures / 255 if floats else pictures
    there = source.as_subclass(OnGpu)
    scorer = rewardkit.scorer("shapes-clip+contrast", device="cpu")
    here, moved = scorer(pictures, "a red ring"), scorer(there, "a red ring")
    assert all(torch.equal(here[name], moved[name]) for name in here)


def test_a_clip_on_a_gpu_comes_to_the_cpu():
    frames = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    came = to_medium(Clip(frames.as_subclass(OnGpu), 8.0))
    assert type(came.frames) is torch.Tensor and came.fps == 8.0


@pytest.mark.parametrize(
    "array",
    [
        PIXELS,
        PIXELS / 255,
        np.asarray(Image.fromarray(PIXELS)),  # read-only
        PIXELS[:, ::-1][:, ::-1],
        np.asfortranarray(PIXELS),
    ],
)
def test_arrays_as_numpy_holds_pictures_are_pictures(array):
    assert torch.equal(to_medium(array), EXPECTED)
    assert len(Batch.of(np.stack([array, array]))) == 2
    assert len(Batch.of(iter([array, array]))) == 2


def test_an_array_that_is_both_is_channels_first():
    array = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert torch.equal(to_medium(array), torch.from_numpy(array))


@pytest.mark.parametrize(
    "media", [7, None, {"a.png": "a ring"}, {"a.png"}, b"a.png", object(), 2.5, True]
)
def test_what_is_no_media_is_named_with_what_is(media):
    with pytest.raises(UsageError, match=rf"a {type(media).__name__} is given as the media.*path"):
        Batch.of(media)


@pytest.mark.parametrize("inner", [7, None, b"x", ["a.png"], np.array(["a"]), np.zeros((2, 2))])
def test_what_is_no_medium_is_named_with_its_place(inner):
    with pytest.raises(ScoringError, match="sample 1 cannot be scored") as caught:
        Batch.of([PIXELS, inner])
    assert isinstance(caught.value.cause, InputError)


@pytest.mark.parametrize(
    ("prompts", "what"),
    [
        (7, "a int is given as prompts"),
        (b"a ring", "a bytes is given as prompts"),
        ({"a": "b"}, "a dict is given as prompts"),
        ([3], "prompt 0 is 3, a int"),
        ([float("nan")], "prompt 0 is nan, a float"),
        ([["a ring"]], "a list"),
        (["a", "b"], "2 prompts"),
    ],
)
def test_prompts_of_a_wrong_type_are_refused(prompts, what):
    with pytest.raises(UsageError, match=what):
        rewardkit.scorer("contrast")([PIXELS], prompts)


@pytest.mark.parametrize("meta", [7, "ab", [7], {"a": 1}])
def test_meta_of_a_wrong_type_is_refused(meta):
    with pytest.raises(UsageError, match="is given as meta"):
        Batch.of([PIXELS, PIXELS], None, meta)
    assert Batch.of(PIXELS, None, {"a": 1}).meta == [{"a": 1}]


@pytest.mark.parametrize("address", ["https://host/a.png", "HTTP://host/a.png"])
def test_an_address_of_the_web_is_said_to_be_one(address):
    with pytest.raises(InputError, match=r"is a URL.*Download it"):
        rewardkit.score_folder(address, "contrast")
    with pytest.raises(ScoringError, match="is a URL"):
        rewardkit.create("contrast")(address)


def test_public_names_are_offered():
    assert {"score_folder", "scorer", "create", "Reward", "Clip"} <= set(dir(rewardkit))
    assert not {"Any", "annotations", "import_module"} & set(dir(rewardkit))
    assert all(getattr(rewardkit, name) is not None for name in dir(rewardkit))


def test_rewards_and_scorers_are_short_to_read():
    assert repr(rewardkit.create("contrast")) == "<PixelStatistic contrast>"
    assert repr(rewardkit.scorer("2*contrast+sharpness")) == "<Scorer 2.0*contrast+sharpness>"
