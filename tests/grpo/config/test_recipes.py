import re
from itertools import combinations

import pytest

from grpo.config.fields import Config
from grpo.config.layers import flatten, layers
from grpo.config.resolve import resolve
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.families import FAMILIES

METHODS, RECIPES = layers("method"), layers("recipe")
ALL = [*METHODS, *RECIPES]
NUMBER = re.compile(r"(\w+) = -?[\d.]+(?:e-?\d+)?\s*(?:#(.*))?$")
DECLARED = re.compile(r"^#   \[(\w+)\]  +(\S.*)$", re.MULTILINE)
# What --prompts would give.
NEEDED = {"prompts": "prompts.txt"}


def named(layers):
    return pytest.mark.parametrize("layer", layers, ids=lambda layer: layer.name)


def test_there_are_methods_and_recipes():
    expected = {"cps", "dance-grpo", "flow-grpo", "nft", "awm", "v-grpo", "dgpo", "crd", "opd"}
    assert expected <= {method.name for method in METHODS}
    expected = {"shapes-flow", "shapes-sd", "sd1.4-dance", "sd1.4-dance-hps"}
    expected |= {"sd3.5-medium-flow", "sd3.5-medium-nft", "sd3.5-medium-cps"}
    expected |= {"flux.1-dev-dance", "flux.1-dev-dance-8gpu", "flux.1-dev-dance-lora"}
    expected |= {"flux.1-dev-flow", "qwen-image-dance", "qwen-image-flow", "sdxl-dance-hps"}
    expected |= {"hunyuanvideo-dance", "skyreels-i2v-dance", "wan2.1-1.3b-dance"}
    assert expected <= {recipe.name for recipe in RECIPES}


@named(RECIPES)
def test_every_recipe_resolves_to_a_run(layer):
    settings = {} if "prompts" in layer.settings else NEEDED
    resolved = resolve(recipe=layer.name, settings=settings)
    assert isinstance(resolved.config, Config)
    assert (resolved.config.recipe, resolved.notes) == (layer.name, ())


@named(METHODS)
def test_every_method_resolves_with_what_is_not_its_own(layer):
    settings = NEEDED | {"model": "some/flow", "reward": "sharpness", "steps": 100}
    if layer.settings["objective.kind"] == "distillation":
        settings["objective.teachers"] = "a=runs/a"
    resolved = resolve(method=layer.name, settings=settings)
    assert resolved.config.method == layer.name
    assert "no recipe" in resolved.notes[0]
    # Of another size than its paper's, unless it is said.
    assert layer.header.trained_at in resolved.notes[1]
    size = {"sampler.height": 512, "sampler.width": 512}
    assert len(resolve(method=layer.name, settings=settings | size).notes) == 1


@pytest.mark.parametrize("model", ["sd3.5-medium", "sd3-medium"])
@pytest.mark.parametrize("method", ["flow-grpo", "nft", "cps"])
def test_a_method_trains_stable_diffusion_3_at_the_size_of_its_paper(model, method):
    resolved = resolve(method=method, settings=NEEDED | {"model": model})
    sampler = resolved.config.sampler
    assert (sampler.height, sampler.width, sampler.max_sequence_length) == (512, 512, 128)
    assert sampler.guidance == (1.0 if method == "nft" else 4.5)
    assert resolved.config.method == method


@pytest.mark.parametrize("method", ["dance-grpo", "flow-grpo", "nft", "cps"])
def test_a_method_forces_its_size_on_no_other_model(method):
    resolved = resolve(
        method=method,
        settings=NEEDED | {"model": "shapes-flow", "reward": "sharpness", "steps": 1},
    )
    assert (resolved.config.sampler.height, resolved.config.sampler.width) == (None, None)


def test_without_a_method_stable_diffusion_3_is_trained_by_flow_grpo():
    resolved = resolve(settings=NEEDED | {"model": "sd3.5-medium"})
    assert resolved.config.recipe == "sd3.5-medium-flow"


@named(ALL)
def test_every_file_says_what_it_is(layer):
    assert layer.header.about
    assert layer.kind == "recipe" or layer.header.source.startswith("https://arxiv.org/abs/")


def unsourced(text):
    """Lines of numbers with no declared source in their comment, or in the one above them."""
    declared = {tag for tag, _ in DECLARED.findall(text)}
    above, wrong = "", []
    for line in text.splitlines():
        number = NUMBER.fullmatch(line)
        comment = (number[2] if number else None) or above
        if number and not {tag for tag in re.findall(r"\[(\w+)\]", comment)} & declared:
            wrong.append(line)
        if line.startswith("#"):
            above = f"{above} {line}"
        elif not number or number[2]:  # a comment above serves lines of bare numbers only
            above = ""
    return wrong


@named(ALL)
def test_every_number_has_its_source(layer):
    assert unsourced(layer.text) == []


@named(ALL)
def test_every_source_that_is_declared_is_used(layer):
    for tag, place in DECLARED.findall(layer.text):
        assert layer.text.count(f"[{tag}]") > 1, f"[{tag}] is declared and not used"
        assert "http" in place or place.startswith("the ") or "trial" in place


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("steps = 3", ["steps = 3"]),
        ("steps = 3  # a good number", ["steps = 3  # a good number"]),
        ("steps = 3  # [x] not declared", ["steps = 3  # [x] not declared"]),
        ("#   [x]  https://x\n\nsteps = 3  # [x]", []),
        ("#   [x]  https://x\n\n# [x]\na = 1\nb = 2", []),
        ("#   [x]  https://x\n\n# [x]\na = 1\n\nb = 2", ["b = 2"]),
        ("#   [x]  https://x\n\n# [x]\na = 1  # [x]\nb = 2", ["b = 2"]),
        ("#   [x]  https://x\n\nlr = 1e-5", ["lr = 1e-5"]),
    ],
)
def test_a_number_without_a_source_is_found(text, wrong):
    assert unsourced(text) == wrong


@named(RECIPES)
def test_recipes_are_for_models_that_there_are(layer):
    assert layer.settings["model"] in ALIASES
    models = {*layer.header.default_for, *layer.header.with_method_for}
    assert models <= {*ALIASES, *FAMILIES}


def test_no_model_has_two_default_recipes_of_one_method_or_of_none():
    for one, other in combinations(RECIPES, 2):
        assert not set(one.header.default_for) & set(other.header.default_for)
        if one.settings["method"] == other.settings["method"]:
            mine, theirs = (
                {*layer.header.default_for, *layer.header.with_method_for} for layer in (one, other)
            )
            assert not mine & theirs


def test_stable_diffusion_is_trained_as_dancegrpo_trained_it():
    # fastvideo/config_sd/dgx.py: hpsv2 and base.py, at commit 15cc71d.
    config = resolve(recipe="sd1.4-dance", settings=NEEDED).config
    assert config.reward == "0.7*hps.v2.1+1.4*clip.dfn5b-h-14-378"
    sampler = config.sampler
    assert (sampler.rule, sampler.noise_level, sampler.steps) == ("ddim", 1.0, 50)
    assert (sampler.guidance, sampler.noise) == (5.0, "group")
    assert (sampler.prompts_per_step, sampler.group_size) == (32, 16)
    assert (config.objective.clip_range, config.advantage.clamp) == (1e-4, 5.0)
    assert (config.optim.lr, config.optim.weight_decay) == (1e-5, 1e-4)
    assert (config.policy.parameters, config.policy.ema) == ("full", None)


def test_the_two_recipes_of_stable_diffusion_differ_in_the_reward_alone():
    both, alone = (
        resolve(recipe=name, settings=NEEDED).config.model_dump()
        for name in ("sd1.4-dance", "sd1.4-dance-hps")
    )
    different = {key for key in both if both[key] != alone[key]}
    assert different == {"reward", "recipe"}


def changed(recipe, other):
    """The settings of a recipe that another one has otherwise, without where each is from."""
    own, others = (
        dict(flatten(resolve(recipe=name, settings=NEEDED).config.model_dump()))
        for name in (recipe, other)
    )
    return {key: own[key] for key in own if own[key] != others.get(key)}


@pytest.mark.parametrize(
    ("recipe", "other", "expected"),
    [
        # scripts/finetune/finetune_flux_grpo_8gpus.sh and its LoRA twin, at commit 15cc71d.
        (
            "flux.1-dev-dance-8gpu",
            "flux.1-dev-dance",
            {"objective.updates": 2, "optim.max_grad_norm": 0.01, "policy.ema": 0.9975},
        ),
        (
            "flux.1-dev-dance-lora",
            "flux.1-dev-dance",
            {
                "steps": 301,
                "sampler.steps": 12,
                "objective.updates": 2,
                "optim.lr": 3e-4,
                "policy.parameters": "lora",
                "policy.rank": 128,
                "policy.alpha": 256,
                "policy.targets": ("to_k", "to_q", "to_v", "to_out.0"),
                "evaluation.every": 60,
                "checkpoint.every": 60,
            },
        ),
        (
            "sdxl-dance-hps",
            "sd1.4-dance-hps",
            {
                "model": "sdxl",
                "sampler.height": 1024,
                "sampler.width": 1024,
                "policy.gradient_checkpointing": True,
            },
        ),
        ("hunyuanvideo-dance-mq", "hunyuanvideo-dance", {"reward": "videoalign.mq"}),
        (
            "hunyuanvideo-dance-vq-mq",
            "hunyuanvideo-dance",
            {"reward": "videoalign.vq+videoalign.mq"},
        ),
    ],
)
def test_a_recipe_differs_from_the_one_it_extends_as_upstreams_script_does(recipe, other, expected):
    assert changed(recipe, other) == {"recipe": recipe, **expected}


def test_flux_is_trained_as_dancegrpo_trained_it_on_16_gpus():
    # scripts/finetune/finetune_flux_grpo.sh, at commit 15cc71d.
    config = resolve(recipe="flux.1-dev-dance", settings=NEEDED).config
    sampler, objective = config.sampler, config.objective
    assert (sampler.rule, sampler.noise_level, sampler.steps) == ("dance", 0.3, 16)
    assert (sampler.schedule, sampler.shift, sampler.truncate_timesteps) == ("uniform", 3.0, True)
    assert (sampler.guidance, sampler.height, sampler.width) == (3.5, 720, 720)
    assert (sampler.prompts_per_step, sampler.group_size, sampler.noise) == (16, 12, "group")
    assert (objective.fraction, objective.clip_range, objective.updates) == (0.6, 1e-4, 3)
    assert (config.optim.lr, config.optim.max_grad_norm) == (1e-5, 1.0)
    assert (config.policy.parameters, config.policy.ema) == ("full", None)


def test_hunyuan_video_is_trained_as_dancegrpo_trained_it():
    # scripts/finetune/finetune_hunyuan_grpo.sh, at commit 15cc71d.
    config = resolve(recipe="hunyuanvideo-dance", settings=NEEDED).config
    sampler, objective = config.sampler, config.objective
    assert (sampler.rule, sampler.noise_level, sampler.steps) == ("dance", 0.25, 16)
    assert (sampler.schedule, sampler.shift, sampler.truncate_timesteps) == ("uniform", 5.0, True)
    assert (sampler.height, sampler.width, sampler.frames, sampler.fps) == (480, 480, 53, 8.0)
    assert (sampler.prompts_per_step, sampler.group_size, config.advantage.best) == (32, 24, 8)
    assert (objective.fraction, objective.clip_range, objective.updates) == (0.6, 1e-4, 2)
    # 6018 is what the network is given: 1000 times the scale of diffusers' call.
    assert 1000 * sampler.guidance == 6018 and sampler.true_guidance is None


def test_skyreels_is_trained_as_dancegrpo_trained_it():
    # scripts/finetune/finetune_skyreels_i2v.sh, at commit 15cc71d.
    config = resolve(recipe="skyreels-i2v-dance", settings=NEEDED).config
    sampler = config.sampler
    assert (sampler.noise_level, sampler.steps, sampler.shift) == (0.3, 16, 7.0)
    assert (sampler.guidance, sampler.true_guidance, sampler.negative_prompt) == (1.0, 5.0, "")
    assert (sampler.height, sampler.width, sampler.frames, sampler.fps) == (400, 640, 53, 8.0)
    assert (sampler.prompts_per_step, sampler.group_size, config.advantage.best) == (32, 8, None)
    assert (config.objective.updates, config.steps) == (1, 121)


@pytest.mark.parametrize(
    ("model", "method", "recipe"),
    [
        ("hunyuanvideo", None, "hunyuanvideo-dance"),
        ("skyreels-i2v", None, "skyreels-i2v-dance"),
        ("wan2.1-14b", None, "wan2.1-1.3b-dance"),
        ("flux.1-dev", None, "flux.1-dev-dance-lora"),
        ("flux.1-dev", "flow-grpo", "flux.1-dev-flow"),
        ("sdxl", None, "sdxl-dance-hps"),
        ("qwen-image", None, "qwen-image-flow"),
        ("qwen-image", "dance-grpo", "qwen-image-dance"),
    ],
)
def test_a_model_alone_or_with_a_method_finds_its_recipe(model, method, recipe):
    resolved = resolve(method=method, settings=NEEDED | {"model": model})
    assert resolved.config.recipe == recipe


def test_the_penalty_of_flow_grpo_is_upstreams():
    # 0.04 (mu - mu_ref)^2 / (2 g^2) there; s = g sqrt(D) here. The first nine of ten steps go from
    # sigma 1 to 3 x / (1 + 2 x) at x = 3 / 1002, which is 0.0089: D is 0.1101 in the mean.
    mean = (1 - 3 * (3 / 1002) / (1 + 2 * (3 / 1002))) / 9
    settings = {layer.name: layer.settings for layer in ALL}
    assert settings["flow-grpo"]["objective.kl"] == pytest.approx(0.04 * mean, rel=0.01)
    assert settings["sd3.5-medium-flow"]["objective.kl"] == pytest.approx(0.01 * mean, rel=0.01)


def test_the_penalty_of_cps_is_upstreams_number():
    # Without a std there, as here with bare log-probabilities.
    settings = {layer.name: layer.settings for layer in ALL}
    for name, kl in (("cps", 0.04), ("sd3.5-medium-cps", 0.01)):
        config = resolve(
            **{"method" if name == "cps" else "recipe": name},
            settings=NEEDED | {"model": "a/flow", "reward": "sharpness", "steps": 1},
        ).config
        assert (settings[name]["objective.kl"], config.objective.log_prob) == (kl, "bare")


def test_the_small_recipes_train_as_they_were_tried():
    # README's figures are of these; upstream's later settings of the methods do not reach them.
    for name in ("shapes-flow-dance", "shapes-sd-dance"):
        config = resolve(recipe=name, settings={}).config
        assert (config.sampler.noise, config.objective.subset) == ("group", "group")
        assert not config.advantage.count_flat
        assert (config.policy.ema, config.policy.ema_warmup) == (0.9, None)
    for name in ("shapes-flow", "shapes-sd"):
        assert resolve(recipe=name, settings={}).config.policy.ema is None
