"""Video families are rows like others: requests in, clips out."""

import json

import numpy as np
import pytest
import tiny_videos
import torch
from click.testing import CliRunner
from PIL import Image
from tiny_videos import CLIP, LONG

from rewardkit.cli import main
from rewardkit.errors import UsageError
from rewardkit.generators.gallery import make_gallery
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip
from rewardkit.media.images import to_pil
from rewardkit.media.prompts import PromptLine

PROMPTS = ["a red ring", "two blue boxes"]


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    return load(tiny_videos.saved("wan", tmp_path_factory.mktemp("wan")), device="cpu")


@pytest.fixture(scope="module")
def wan_i2v(tmp_path_factory):
    home = tmp_path_factory.mktemp("wan")
    return load(tiny_videos.saved("wan-i2v", home), device="cpu")


@pytest.fixture(scope="module")
def first_frames():
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(0, 256, (3, 16, 16), np.uint8)) for _ in PROMPTS]


def theirs(pipeline, seed, **options):
    """The frames that diffusers itself makes, rounded as a picture is saved."""
    frames = pipeline.diffusers(
        generator=torch.Generator().manual_seed(seed),
        num_inference_steps=CLIP.steps,
        guidance_scale=CLIP.guidance,
        height=16,
        width=16,
        num_frames=5,
        output_type="pt",
        **{"max_sequence_length": 16, **options},
    ).frames[0]
    return frames.mul(255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def hunyuan_video(tmp_path_factory):
    home = tmp_path_factory.mktemp("hunyuan")
    return load(tiny_videos.saved("hunyuan-video", home), device="cpu")


@pytest.mark.parametrize("name", ["wan", "hunyuan_video"])
def test_a_text_to_video_pipeline_makes_the_clips_that_diffusers_makes(name, request):
    pipeline = request.getfixturevalue(name)
    requests = [Request(prompt, seed) for seed, prompt in enumerate(PROMPTS)]
    clips = list(generate(pipeline, requests, protocol=CLIP, batch_size=1))
    for clip, asked in zip(clips, requests, strict=True):
        assert isinstance(clip, Clip) and clip.fps == 8.0
        assert torch.equal(clip.frames, theirs(pipeline, asked.seed, prompt=asked.prompt))
    together = list(generate(pipeline, requests, protocol=CLIP))
    assert all(
        (clip.frames.int() - other.frames.int()).abs().max() <= 1
        for clip, other in zip(clips, together, strict=True)
    )


@pytest.fixture(scope="module")
def skyreels(tmp_path_factory):
    return load(tiny_videos.saved("skyreels", tmp_path_factory.mktemp("skyreels")), device="cpu")


@pytest.mark.parametrize(("name", "protocol"), [("wan_i2v", LONG), ("skyreels", CLIP)])
def test_an_image_to_video_pipeline_is_given_each_requests_own_first_frame(
    name, protocol, request, first_frames
):
    pipeline = request.getfixturevalue(name)
    requests = [
        Request(prompt, 7, {"first_frame": picture})
        for prompt, picture in zip(PROMPTS, first_frames, strict=True)
    ]
    clips = list(generate(pipeline, requests, protocol=protocol))
    length = protocol.max_sequence_length
    for clip, asked in zip(clips, requests, strict=True):
        options = {"image": to_pil(asked.references["first_frame"]), "max_sequence_length": length}
        expected = theirs(pipeline, 7, prompt=asked.prompt, **options)
        assert torch.equal(clip.frames, expected)
    assert not torch.equal(clips[0].frames, clips[1].frames)


def test_a_gallery_of_a_video_pipeline_holds_mp4_and_is_resumed(wan, tmp_path):
    lines = [PromptLine("here", prompt) for prompt in PROMPTS]
    manifest = make_gallery(wan, lines, tmp_path, protocol=CLIP, batch_size=1)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [row["path"] for row in rows] == ["00000-00.mp4", "00001-00.mp4"]
    clip = read_clip(tmp_path / rows[0]["path"])
    assert clip.frames.shape == (5, 3, 16, 16) and clip.fps == pytest.approx(8.0)
    before = (tmp_path / rows[1]["path"]).read_bytes()
    (tmp_path / rows[1]["path"]).unlink()
    make_gallery(wan, lines, tmp_path, protocol=CLIP, batch_size=1)
    assert (tmp_path / rows[1]["path"]).read_bytes() == before
    with pytest.raises(UsageError, match=r"protocol\.fps was 8\.0, now 16\.0"):
        make_gallery(wan, lines, tmp_path, protocol=CLIP.changed({"fps": 16.0}))


def test_commands_make_score_and_show_clips(wan, tmp_path):
    (tmp_path / "prompts.txt").write_text("\n".join(PROMPTS))
    arguments = "--steps 2 --height 16 --width 16 --frames 5 --fps 8 --max-sequence-length 16"
    for command in (
        f"generate {wan.folder} -p {tmp_path}/prompts.txt -o {tmp_path}/clips --device cpu "
        f"--guidance 3 --negative-prompt blur {arguments}",
        f"score {tmp_path}/clips/manifest.jsonl -r motion-smoothness -o {tmp_path}/scores.csv",
        f"sheet {tmp_path}/scores.csv -o {tmp_path}/sheet.png",
    ):
        done = CliRunner().invoke(main, command.split())
        assert done.exit_code == 0, done.output
    made_by = json.loads((tmp_path / "clips" / "rewardkit.json").read_text())["made_by"]
    assert made_by["protocol"]["negative_prompt"] == "blur" and made_by["protocol"]["frames"] == 5
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 12 + 2 * 212


def test_references_that_are_missing_unknown_or_clips_are_refused_at_the_call(wan, wan_i2v):
    picture = torch.zeros(3, 16, 16, dtype=torch.uint8)
    with pytest.raises(UsageError, match="needs the reference 'first_frame'"):
        generate(wan_i2v, [Request("a", 0)], protocol=LONG)
    with pytest.raises(UsageError, match="takes no reference 'source'; accepted: first_frame"):
        generate(wan_i2v, [Request("a", 0, {"source": picture})], protocol=LONG)
    with pytest.raises(UsageError, match="takes no reference 'first_frame'; accepted: none"):
        generate(wan, [Request("a", 0, {"first_frame": picture})], protocol=CLIP)
    with pytest.raises(UsageError, match="must be a picture; a clip was given"):
        clip = Clip(picture[None], 8.0)
        generate(wan_i2v, [Request("a", 0, {"first_frame": clip})], protocol=LONG)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"frames": None}, "lacks frames.*default is 81"),
        ({"fps": None}, r"lacks fps.*default is 16\.0"),
        ({"frames": 8}, "a multiple of 4, plus 1; 8 was given"),
        ({"height": 24}, "multiples of 16"),
    ],
)
def test_a_clip_the_pipeline_would_change_in_silence_is_refused(wan, changes, what):
    with pytest.raises(UsageError, match=what):
        generate(wan, [Request("a", 0)], protocol=CLIP.model_copy(update=changes))


def test_a_video_pipeline_has_the_protocol_of_its_call_and_its_family(wan):
    assert wan.protocol == Protocol(
        steps=50,
        guidance=5.0,
        height=480,
        width=832,
        frames=81,
        fps=16.0,
        max_sequence_length=512,
    )
