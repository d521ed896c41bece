"""From prompts to pictures to scores to a sheet, by command, with the model in the package."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner
from PIL import Image

from rewardkit.cli import main
from rewardkit.records.rows import read_rows

HELD_OUT = "package:rewardkit.shapes/lists/held-out.jsonl"


def run(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    """Four pictures of shapes-flow, scored."""
    home = tmp_path_factory.mktemp("generated")
    made = run("generate", "shapes-flow", "-p", HELD_OUT, "--first", 4, "-o", home / "p")
    assert made.exit_code == 0, made.output
    spec, table = "shapes-clip+shapes-correct+sharpness", home / "scores.parquet"
    scored = run("score", made.stdout.strip(), "-r", spec, "-o", table)
    assert scored.exit_code == 0, scored.output
    return table


def test_what_is_generated_can_be_scored(scores):
    rows = read_rows(scores).rows
    assert [row.prompt for row in rows] == [
        "a ring",
        "a cross and a square",
        "three rings",
        "a red ring",
    ]
    assert all(None not in row.scores.values() for row in rows)


def test_a_sheet_shows_every_row_the_best_first(scores, tmp_path):
    sheet = tmp_path / "sheet.png"
    assert run("sheet", scores, "-o", sheet).exit_code == 0
    with Image.open(sheet) as whole, Image.open(scores.parent / "p" / "00000-00.png") as first:
        # The picture fills 200 pixels below a margin of 12; its middle is background or thing.
        assert whole.width == 4 * 212 + 12
        corner = whole.convert("RGB").getpixel((14, 14))
        assert max(abs(a - b) for a, b in zip(corner, first.getpixel((0, 0)), strict=True)) < 20
    assert (
        run("sheet", scores, "-o", tmp_path / "one.png", "--by", "sharpness", "-n", 1).exit_code
        == 0
    )
    with Image.open(tmp_path / "one.png") as sheet_of_one:
        assert sheet_of_one.width == 212 + 12


def test_wrong_requests_are_told(scores, tmp_path):
    unknown = run("sheet", scores, "-o", tmp_path / "s.png", "--by", "sharpnes")
    assert unknown.exit_code == 2 and "sharpness" in unknown.output
    assert run("sheet", scores, "-o", tmp_path / "s.png", "--lowest").exit_code == 2
    near = run("generate", "shapes-flo", "-p", HELD_OUT, "-o", tmp_path / "p")
    assert near.exit_code == 2 and "shapes-flow" in near.output
    nowhere = run("generate", "shapes-flow", "-p", "package:no.such/x.txt", "-o", tmp_path / "p")
    assert nowhere.exit_code == 2 and "package:NAME/FILE" in nowhere.output
    (tmp_path / "empty.txt").touch()
    empty = run("generate", "shapes-flow", "-p", tmp_path / "empty.txt", "-o", tmp_path / "p")
    assert empty.exit_code == 1 and "empty.txt" in empty.output
    steps = run("generate", "shapes-flow", "-p", HELD_OUT, "-o", tmp_path / "p", "--steps", 0)
    assert steps.exit_code == 2 and "steps" in steps.output
    assert not (tmp_path / "p").exists()


PLAIN = """
import json, sys, torch
from diffusers import DiffusionPipeline
folder, missing, options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
pipe = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32, **dict.fromkeys(missing))
seed = torch.Generator().manual_seed(3)
image = pipe("three rings", generator=seed, num_inference_steps=20, **options).images[0]
assert not any(name.partition(".")[0] in ("rewardkit", "grpo") for name in sys.modules)
image.save(sys.argv[4])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "missing", "options"),
    [
        # Diffusers asks for what a folder without T5 lacks; it is None.
        (
            "shapes-flow",
            ["text_encoder_3", "tokenizer_3"],
            {"guidance_scale": 1.0, "max_sequence_length": 0},
        ),
        ("shapes-sd", ["safety_checker"], {"guidance_scale": 1.0}),
    ],
)
def test_diffusers_alone_makes_the_same_picture(name, missing, options, tmp_path):
    from rewardkit.generators.aliases import ALIASES
    from rewardkit.generators.pipelines import generate, load
    from rewardkit.generators.requests import Request
    from rewardkit.media.images import read_image

    arguments = [ALIASES[name].place, json.dumps(missing), json.dumps(options), tmp_path / "x.png"]
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PLAIN, *map(str, arguments)],
        check=True,
        cwd=tmp_path,
        capture_output=True,
    )
    (ours,) = generate(load(name, device="cpu"), [Request("three rings", 3)])
    plain = read_image(tmp_path / "x.png")
    # The decoder's rounding may differ by one level where a batch is padded otherwise.
    assert (ours.int() - plain.int()).abs().max() <= 1


@pytest.mark.parametrize("name", ["shapes-flow", "shapes-sd"])
def test_a_batch_of_the_packaged_models_is_its_pictures_one_by_one(name):
    from rewardkit.generators.pipelines import generate, load
    from rewardkit.generators.requests import Request

    pipe = load(name, device="cpu")
    prompts = ["a ring", "two crosses", "a red ring and a blue cross", "a green square", "a cross"]
    requests = [Request(prompt, seed) for seed, prompt in enumerate(prompts)]
    together = list(generate(pipe, requests, batch_size=5))
    for seed, request in enumerate(requests):
        (alone,) = generate(pipe, [request])
        apart = (alone.int() - together[seed].int()).abs()
        # 1e-4 of the range is 0.026 levels: it may turn the rounding of a pixel in forty, by one.
        assert apart.max() <= 1 and (apart > 0).float().mean() <= 0.026
