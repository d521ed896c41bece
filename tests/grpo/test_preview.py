"""A dry run refuses what the real run would, before anything is downloaded, and says its size."""

import inspect
import json
import re
import shutil
from pathlib import Path

import diffusers
import pytest
import tiny_policies
import tiny_videos
from click.testing import CliRunner

from grpo import estimate, memory, policies, preview
from grpo.cli import main
from grpo.config.resolve import resolve
from grpo.train import train
from rewardkit.cli import main as rewardkit
from rewardkit.errors import UsageError
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.pipelines import load

WHOLE = ["--method", "nft", "--steps", "10", "-r", "sharpness", "-p", "p.txt"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "p.txt").write_text("a cat\na dog\n")
    return tmp_path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def dry(*arguments):
    return CliRunner().invoke(main, ["train", *map(str, arguments), "--dry-run"])


def index(folder, name):
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": name}))
    return folder


def test_a_policy_says_whether_its_pipeline_has_a_text_length():
    for name, policy in policies.families().items():
        call = inspect.signature(getattr(diffusers, name).__call__)
        assert policy.has_text_length == ("max_sequence_length" in call.parameters), name


@pytest.fixture
def untrained_flux(monkeypatch):
    """FLUX.1 stands for a family that is sampled and not trained."""
    monkeypatch.delitem(policies.families(), "FluxPipeline")


@pytest.mark.parametrize("given", [[], WHOLE])
def test_a_named_model_that_cannot_be_trained_is_refused(here, untrained_flux, given):
    refused = dry("--model", "flux.1-dev", *given)
    assert refused.exit_code == 2 and not refused.stdout
    assert "flux.1-dev is a " in refused.stderr and "but not trained here" in refused.stderr
    assert "shapes-sd, sd1.4, sd1.5" in refused.stderr


@pytest.mark.parametrize("name", ["nonsense-model", "hunyuan", "./nowhere", "wan"])
def test_a_model_that_there_is_not_is_refused(here, name):
    refused = dry("--model", name, *WHOLE)
    assert refused.exit_code == 2 and not refused.stdout
    assert "What can be trained: StableDiffusionPipeline: shapes-sd" in refused.stderr
    assert "Flux2KleinPipeline; " in refused.stderr  # no model of this class has a name


@pytest.mark.parametrize("name", ["a/b--c", "a/b..c", "a/b.git", "a/b-", "a/" + "b" * 120])
def test_a_name_that_the_hub_cannot_have_is_refused_in_a_line(here, name):
    refused = dry("--model", name, *WHOLE)
    assert refused.exit_code == 2 and f"{name} is no folder, and not owner/name" in refused.stderr
    refused = dry("--model", "shapes-flow", "--lora", name)
    assert refused.exit_code == 2 and "no LoRA to start from" in refused.stderr


def test_damaged_sizes_of_a_part_are_left_to_the_pipeline(here):
    folder = index(here / "odd", "StableDiffusion3Pipeline")
    for part, text in {"vae": '{"block_out_channels": 5}', "transformer": "{}"}.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(text)
    sizes = ["--set", "sampler.height=64", "--set", "sampler.width=64"]
    assert dry("--model", folder, *WHOLE, *sizes).exit_code == 0


def test_an_empty_text_is_refused_in_plain_words(here):
    refused = dry("--model", "shapes-flow", "--lora", "")
    assert refused.exit_code == 2
    assert 'policy.init_lora is "" (your setting), which is empty' in refused.stderr


def test_a_recipe_of_ones_own_is_looked_at_too(here, untrained_flux):
    Path("mine.toml").write_text('extends = "shapes-flow"\nmodel = "flux.1-dev"\n')
    refused = dry("--recipe", "mine.toml")
    assert refused.exit_code == 2 and "flux.1-dev is a FluxPipeline" in refused.stderr


def test_a_repository_that_is_not_here_is_not_asked_for(here):
    shown = dry("--model", "Wan-AI/Wan2.1-T2V", *WHOLE)
    assert shown.exit_code == 0
    assert (
        "# model: Wan-AI/Wan2.1-T2V is not on this machine, so it was not checked" in shown.stdout
    )


def test_a_repository_whose_index_is_here_is_looked_at(here, monkeypatch):
    folder = index(here / "cached", "UnheardOfPipeline")
    monkeypatch.setattr(
        "huggingface_hub.try_to_load_from_cache",
        lambda repo, name, revision: str(folder / name) if repo == "Wan-AI/Wan2.1" else None,
    )
    refused = dry("--model", "Wan-AI/Wan2.1", *WHOLE)
    assert refused.exit_code == 2
    assert "Wan-AI/Wan2.1 is a UnheardOfPipeline, which is not known here" in refused.stderr


def test_the_real_run_asks_for_the_index_before_gigabytes(here, untrained_flux, monkeypatch):
    folder = index(here / "fetched", "FluxPipeline")
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repo, name, revision: str(folder / name)
    )
    config = resolve(
        method="nft",
        settings={"model": "me/flux", "reward": "sharpness", "prompts": "p.txt", "steps": 1},
    ).config
    with pytest.raises(UsageError, match="me/flux is a FluxPipeline, which can be sampled"):
        train(config, out=here / "run", device="cpu")
    assert not (here / "run").exists()


@pytest.mark.parametrize("text", ["[]", "{", "5", "{}", '{"_class_name": 5}', "[" * 100_000])
def test_an_index_that_names_no_class_is_refused(here, text):
    (here / "model").mkdir()
    (here / "model/model_index.json").write_text(text)
    refused = dry("--model", "./model", *WHOLE)
    assert refused.exit_code == 2 and "does not name the class of a pipeline" in refused.stderr


def test_what_is_no_pipeline_is_refused_by_what_it_is(here):
    Path("sd.safetensors").touch()
    Path("empty").mkdir()
    index(here / "full", "x").rename(here / "model")
    Path("full").mkdir()
    Path("model").rename("full/model")
    for folder, file in [("lora", "pytorch_lora_weights.safetensors"),
                         ("peft", "adapter_config.json"),
                         ("run/model", "pytorch_lora_weights.safetensors")]:  # fmt: skip
        Path(folder).mkdir(parents=True)
        (Path(folder) / file).touch()
    Path("run/rewardkit.json").write_text('{"base": {"source": "a/b", "alias": "sd1.4"}}')
    for given, told in {
        "./sd.safetensors": "it is a file",
        "./empty": "it has no model_index.json",
        "./full": "--model full/model",
        "./lora": "holds a LoRA",
        "./peft": "--model BASE --lora peft",
        "./run": "--model sd1.4 --lora run",
    }.items():
        refused = dry("--model", given, *WHOLE)
        assert refused.exit_code == 2 and told in refused.stderr, given


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--model", "sd1.4", "--set", "sampler.rule=ode"], "its rules are ddim"),
        (["--model", "sd1.4", "--set", "sampler.max_sequence_length=8"], "has no max_sequence"),
        (["--model", "shapes-flow", "--set", "sampler.height=104"], "at most 32; height 104"),
        (["--model", "shapes-flow", "--set", "sampler.width=36"], "are multiples of 8"),
        (["--model", "shapes-sd", "--set", "sampler.width=36"], "are multiples of 8"),
    ],
)
def test_a_setting_that_does_not_fit_the_model_is_refused(here, given, told):
    if "ode" in given[-1]:
        given = [*given, "--method", "nft", "-r", "sharpness", "--steps", "2"]
    refused = dry(*given, *(["-p", "p.txt"] if "sd1.4" in given else []))
    assert refused.exit_code == 2 and told in refused.stderr
    assert not refused.stdout


def test_pictures_larger_than_the_model_can_make_are_refused_in_a_line(here):
    """In generate, in training and in Python, before there is a folder."""
    options = ["generate", "shapes-flow", "-p", "p.txt", "-o", "g", "--height", "104"]
    refused = CliRunner().invoke(rewardkit, [*options, "--device", "cpu"])
    assert refused.exit_code == 2
    assert refused.stderr.splitlines()[-1].startswith("Error: a StableDiffusion3Pipeline accepts")
    assert "at most 32; height 104 and width 32 were given" in refused.stderr
    config = resolve(settings={"model": "shapes-flow", "sampler.width": "1024"}).config
    with pytest.raises(UsageError, match="at most 32"):
        train(config, out=here / "run", device="cpu")
    assert not Path("run").exists() and not Path("g").exists()


# What a run amounts to.


@pytest.mark.parametrize("name", ["sd", "sd3"])
@pytest.mark.parametrize("parameters", ["full", "lora"])
def test_parameters_are_counted_as_they_are_trained(folders, name, parameters):
    made = tiny_policies.policy(folders[name], policy={"parameters": parameters, "rank": 3})
    family = type(made)
    shapes = estimate._shapes(folders[name], family.parts)
    config = tiny_policies.config(name, policy={"parameters": parameters, "rank": 3})
    trained = sum(value.numel() for value in made.parameters().values())
    total = sum(p.numel() for n, p in made.network.named_parameters() if "lora" not in n)
    if parameters == "lora":
        assert estimate._lora(shapes, config, family) == trained
    counted = sum(estimate.prod(shape) for shape in shapes.values())
    # Positions are fixed: SD 3 keeps them in its file, and does not train them.
    assert counted - total in (0, *(estimate.prod(s) for k, s in shapes.items() if "pos" in k))


def test_a_dry_run_begins_with_what_it_amounts_to(here, folders, monkeypatch):
    built, real = [], memory.pipeline_in
    monkeypatch.setattr(
        memory, "pipeline_in", lambda folder: (built.append(folder), real(folder))[1]
    )
    shown = dry("--model", "shapes-flow").stdout.splitlines()
    assert shown[0].startswith("# model: shapes-flow, a StableDiffusion3Pipeline; its transformer")
    assert shown[1].startswith("# trained: all of its transformer, 2,2")
    assert shown[2].startswith("# memory on ") and "while gradients are computed" in shown[2]
    assert shown[3].startswith("#   kept: ") and "optimizer 17.5 MiB" in shown[3]
    assert shown[4].startswith("#   at times: ") and "decoding 0.5 MiB" in shown[4]
    assert shown[6].startswith("# each step: 8 prompts x 12 samples = 96 images of 32 x 32;")
    assert shown[7].endswith(
        "batches of up to 48 samples (sampler.batch_size): 2 in a rollout, 1 in an update"
    )
    lora = dry("--model", "shapes-flow", "--set", "policy.parameters=lora").stdout
    assert "# trained: a LoRA of rank 32, " in lora
    absent = dry("--model", "sd1.4", "-p", "p.txt").stdout
    assert "# model: sd1.4, a StableDiffusionPipeline, not on this machine" in absent
    assert "# memory" not in absent


def test_a_dry_run_builds_the_pipeline_once(here, monkeypatch):
    built, real = [], memory.pipeline_in

    def build(folder):
        built.append(folder)
        return real(folder)

    monkeypatch.setattr(memory, "pipeline_in", build)
    lists = ["-p", "package:rewardkit.shapes/lists/train.jsonl", "-r", "sharpness"]
    method = ["--method", "flow-grpo", "--steps", "1", "--set", "sampler.schedule=uniform"]
    shown = dry("--model", "shapes-flow", *lists, *method).stdout
    assert "# gradient factor of each step" in shown and "# memory on " in shown
    assert len(built) == 1


def test_memory_that_cannot_be_estimated_is_a_line(here, folders):
    folder = shutil.copytree(folders["sd"], here / "sd")
    (folder / "vae/config.json").write_text("{")
    shown = dry("--model", "./sd", *WHOLE, "--set", "sampler.rule=ddim")
    assert shown.exit_code == 0
    assert "# memory: it cannot be estimated from sd: " in shown.stdout


def test_a_dry_run_for_a_device_of_another_machine_shows_the_rest(here, folders, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    rule = ["--set", "sampler.rule=ddim"]
    shown = dry("--model", folders["sd"], *WHOLE, *rule, "--reward-device", "cuda:7")
    assert shown.exit_code == 0
    assert "# memory: it cannot be estimated from" in shown.stdout
    assert "device 'cuda:7' cannot be used here" in shown.stdout
    assert 'device = "cuda:7"' in shown.stdout


def test_a_large_file_in_shards_is_counted_once(folders, tmp_path):
    part = shutil.copytree(folders["sd"] / "unet", tmp_path / "unet")
    whole = estimate._shapes(tmp_path, ["unet"])
    assert whole
    name = "diffusion_pytorch_model"
    (part / f"{name}.safetensors").rename(part / f"{name}-00001-of-00001.safetensors")
    shutil.copy(part / f"{name}-00001-of-00001.safetensors", part / f"{name}.fp16.safetensors")
    assert estimate._shapes(tmp_path, ["unet"]) == whole
    (part / f"{name}-00001-of-00001.safetensors").write_bytes(b"cut")
    assert estimate._shapes(tmp_path, ["unet"]) == {}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    home = tmp_path_factory.mktemp("clips")
    return {name: tiny_videos.saved(name, home) for name in ("hunyuan-video", "wan")}


@pytest.mark.parametrize("name", ["hunyuan-video", "wan"])
def test_sizes_of_clips_are_read_as_the_pipeline_reads_them(clips, name):
    pipe, sketch = load(clips[name], device="cpu").diffusers, preview._sketch(clips[name])
    for axis in ("temporal", "spatial"):
        factor = f"vae_scale_factor_{axis}"
        assert getattr(sketch, factor) == getattr(pipe, factor)
    assert FAMILIES[type(pipe).__name__].multiple(sketch) == 16


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("frames=8", "a number of frames that is a multiple of 4, plus 1; 8 was given"),
        ("height=24", "multiples of 16; height 24"),
    ],
)
def test_a_clip_that_cannot_be_made_is_refused_before_anything_is_loaded(
    here, clips, setting, told
):
    for name, folder in clips.items():
        sizes = ["sampler.width=16", *(["sampler.height=16"] if "frames" in setting else [])]
        given = [option for size in sizes for option in ("--set", size)] + ["--set"]
        refused = dry("--model", folder, *WHOLE, *given, f"sampler.{setting}")
        assert refused.exit_code == 2 and told in refused.stderr, name
    if "frames" in setting:  # also where the model is not on this machine
        refused = dry(
            "--recipe", "hunyuanvideo-dance", "-p", "p.txt", "--set", f"sampler.{setting}"
        )
        assert refused.exit_code == 2 and told in refused.stderr


def test_a_dry_run_counts_clips_as_clips(here):
    shown = dry("--recipe", "hunyuanvideo-dance", "-p", "p.txt").stdout
    step = "# each step: 32 prompts x 24 samples = 768 clips of 480 x 480 with 53 frames; 202 steps"
    assert step in shown


def test_what_is_looked_at_is_what_is_loaded(folders):
    for name in ("sd", "sd3"):
        pipe = load(folders[name], device="cpu").diffusers
        looked = preview.look(str(folders[name]))
        assert looked.pipeline == type(pipe).__name__
        sketch = preview._sketch(looked.folder)
        assert sketch.vae_scale_factor == pipe.vae_scale_factor
        assert getattr(sketch, "patch_size", None) == getattr(pipe, "patch_size", None)


@pytest.mark.parametrize(
    ("method", "changes", "span"),
    [
        ("flow-grpo", {"sampler.steps": 16, "sampler.shift": 5.0}, 35),
        ("dance-grpo", {"sampler.shift": 5.0}, None),
        ("guard", {"sampler.steps": 16, "sampler.shift": 5.0}, None),
        ("flow-grpo", {"objective.weight": "gradient"}, None),
        ("mix-grpo", {"sampler.window_within": 4}, None),
        ("nft", {}, None),
    ],
)
def test_a_dry_run_says_how_strongly_each_step_pulls(method, changes, span):
    settings = {"model": "shapes-flow", "reward": "sharpness", "steps": 1, **changes}
    settings |= {"prompts": "package:rewardkit.shapes/lists/train.jsonl"}
    settings |= {"sampler.schedule": "uniform"}
    config = resolve(method=method, settings=settings).config
    looked = preview.look(config.model)
    outline = memory.outlined(config, config.model, looked.folder)
    lines = estimate._pull(config, outline)
    if method == "nft":  # whose loss has no probabilities
        assert lines == []
        return
    listed, *warnings = lines
    factors = {
        int(step): float(factor)
        for step, factor in (pair.split(": ") for pair in listed.split("noise: ")[1].split(", "))
    }
    assert [*factors] == [*range(4 if method == "mix-grpo" else config.sampler.steps - 1)]
    if span is None:
        assert not warnings and max(factors.values()) < 10 * min(factors.values())
        return
    # From the second step to the last one trained, as in Flow-SDE's formula.
    assert factors[1] == pytest.approx(0.02483, rel=0.01)
    assert factors[14] == pytest.approx(0.85913, rel=0.01)
    assert re.match(r"WARNING: the gradient of step 14 is 46 times that of step 0, so", warnings[0])
