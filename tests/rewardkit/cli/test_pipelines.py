"""`rewardkit pipelines` tells what each name stands for, without loading anything."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from rewardkit.cli import main
from rewardkit.generators.aliases import ALIASES, Alias


def run(*args):
    return CliRunner().invoke(main, ["pipelines", *args])


def test_every_name_is_a_row():
    result = run()
    assert result.exit_code == 0, result.output
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in result.stdout.splitlines()}
    assert list(rows) == ["name", *ALIASES]
    assert rows["sd3.5-medium"] == (
        "stabilityai/stable-diffusion-3.5-medium StableDiffusion3Pipeline text-to-image "
        "40 4.5 1024x1024 256 Stability AI Community License"
    )
    assert rows["sd1.4"] == (
        "CompVis/stable-diffusion-v1-4 StableDiffusionPipeline text-to-image "
        "50 7.5 512x512 - CreativeML OpenRAIL-M"
    )


def test_json_holds_what_pins_a_picture():
    found = {alias["name"]: alias for alias in json.loads(run("--json").stdout)}
    assert list(found) == list(ALIASES)
    flux = found["flux.1-schnell"]
    assert flux["task"] == "text-to-image" and flux["licence"] == "Apache-2.0"
    assert flux["protocol"] == {
        "steps": 4,
        "guidance": 0.0,
        "height": 1024,
        "width": 1024,
        "max_sequence_length": 256,
    }
    assert all(len(alias["revision"]) == 40 for alias in found.values() if alias["repo"])


def test_what_is_in_the_package_says_its_protocol_in_its_folder(tmp_path, monkeypatch):
    protocol = {
        "steps": 9,
        "guidance": 1.5,
        "height": 24,
        "width": 32,
        "max_sequence_length": 0,
    }
    (tmp_path / "rewardkit.json").write_text(json.dumps({"protocol": protocol}))
    alias = Alias(name="ours", pipeline="FluxPipeline", folder=str(tmp_path), licence="MIT")
    monkeypatch.setitem(ALIASES, "ours", alias)
    row = " ".join(run().stdout.splitlines()[-1].split())
    assert row == "ours in the package FluxPipeline text-to-image 9 1.5 32x24 0 MIT"


def test_true_guidance_is_the_guidance_that_is_shown():
    (row,) = (line for line in run().stdout.splitlines() if line.startswith("qwen-image"))
    assert " 50 4 " in " ".join(row.split()).replace("1328x1328", "")


@pytest.mark.parametrize("args", [["--help"], []])
def test_looking_loads_nothing_heavy(args):
    code = "import sys, click.testing, rewardkit.cli as cli\n"
    code += f"click.testing.CliRunner().invoke(cli.main, ['pipelines', *{args}])\n"
    code += "print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert "rewardkit.cli.pipelines" in loaded
    assert not loaded & {"torch", "diffusers", "transformers", "huggingface_hub", "numpy"}
