import json
import tomllib
from pathlib import Path

import pytest

import grpo.config.settings
from grpo.config.counts import counts
from grpo.config.layers import flatten, layers
from grpo.config.resolve import continued, resolve
from grpo.config.settings import as_toml, fields
from rewardkit.errors import InputError, UsageError

SHAPES = {"model": "shapes-flow"}
METHOD = """
about = "mine"
[sampler]
rule = "flow"
noise_level = 0.7
steps = 10
prompts_per_step = 4
group_size = 6
[objective]
kind = "policy-gradient"
clip_range = 1e-3
[optim]
lr = 1e-3
weight_decay = 0.5
"""
RECIPE = """
about = "mine"
method = "{method}"
model = "shapes-flow"
reward = "shapes-graded"
prompts = "package:rewardkit.shapes/lists/train.jsonl"
steps = 10
[optim]
lr = 1e-4
weight_decay = 0.25
"""


@pytest.fixture
def mine(tmp_path):
    """A recipe of one's own on a method of one's own: their paths."""
    method, recipe = tmp_path / "method.toml", tmp_path / "recipe.toml"
    method.write_text(METHOD, "utf-8")
    recipe.write_text(RECIPE.format(method=method), "utf-8")
    return str(recipe), str(method)


def changed(path, old, new):
    text = Path(path).read_text("utf-8")
    assert old in text
    Path(path).write_text(text.replace(old, new), "utf-8")


def test_each_layer_wins_over_those_before(mine):
    recipe, method = mine
    resolved = resolve(recipe, settings={"optim.lr": "1e-5"})
    optim, origins = resolved.config.optim, resolved.origins
    assert (optim.beta1, origins["optim.beta1"]) == (0.9, "default")
    assert resolved.config.objective.clip_range == 1e-3
    assert origins["objective.clip_range"] == f"method {method}"
    assert (optim.weight_decay, origins["optim.weight_decay"]) == (0.25, f"recipe {recipe}")
    assert (optim.lr, origins["optim.lr"]) == (1e-5, "your setting")
    assert (resolved.config.recipe, resolved.config.method) == mine


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("steps", "5", 5),
        ("optim.lr", "3e-4", 3e-4),
        ("optim.max_grad_norm", "2", 2.0),
        ("sampler.truncate_timesteps", "true", True),
        ("sampler.guidance", "none", None),
        ("sampler.guidance", "4.5", 4.5),
        ("sampler.shift", "3", 3.0),
        ("policy.targets", "to_q, to_k", ["to_q", "to_k"]),
        ("policy.targets", "to_q", ["to_q"]),
        ("policy.targets", "none", None),
        ("policy.dtype", "bfloat16", "bfloat16"),
        ("advantage.scale", "none", "none"),  # a word of that setting, not the absent value
        ("revision", "1234", "1234"),
        ("reward", "0.5*shapes-clip", "0.5*shapes-clip"),
    ],
)
def test_text_means_what_its_setting_takes(key, text, value):
    config = resolve(settings=SHAPES | {key: text}).config.model_dump(mode="json")
    found = dict(flatten(config))[key]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optim.lrr": "1"},
            "unknown setting 'optim.lrr' (your setting). Did you mean 'optim.lr'?",
        ),
        ({"lr": "1"}, "Did you mean 'optim.lr'?"),
        ({"clip_range": "1"}, "unknown setting 'clip_range'"),
        ({"sampler": "1"}, "unknown setting 'sampler'"),
        ({"objective.clip_range": "1"}, "belongs to objectives of the kind policy-gradient"),
        ({"optim.lr": "fast"}, 'optim.lr is "fast" (your setting); accepted is a valid number'),
        ({"optim.lr": "-1"}, "optim.lr is -1.0 (your setting); accepted is greater than 0"),
        ({"steps": "1.5"}, 'steps is "1.5" (your setting); accepted is a valid integer'),
        ({"sampler.rule": "dnce"}, "accepted is 'ddim', 'dance', 'flow', 'cps' or 'ode'"),
        ({"objective.kind": "ppo"}, "accepted is 'policy-gradient'"),
        ({"sampler.noise": "step"}, "without a gradient"),
        ({"reward": "shapes-corect"}, "Did you mean 'shapes-correct'"),
        ({"evaluation.rewards": "clipp"}, "unknown reward 'clipp'"),
        ({"method": "nft"}, "name it with --method"),
        ({"recipe": "shapes-sd"}, "name it with --recipe"),
    ],
)
def test_a_wrong_setting_is_told_in_words(settings, message):
    with pytest.raises(UsageError) as refused:
        resolve(settings=SHAPES | settings)
    assert message in str(refused.value)
    assert "pydantic" not in str(refused.value)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(UsageError) as refused:
        resolve(settings=SHAPES | {"optim.lr": "-1", "steps": "0"})
    assert len(str(refused.value).splitlines()) == 2


def test_a_wrong_recipe_is_told_with_its_name(mine):
    recipe, _ = mine
    changed(recipe, "lr = 1e-4", "rate = 1e-4")
    with pytest.raises(UsageError, match=r"'optim.rate' \(recipe .*recipe.toml\)"):
        resolve(recipe)
    changed(recipe, "rate = 1e-4", 'lr = "1e-4"')
    with pytest.raises(UsageError, match=r'lr is "1e-4" \(recipe .*\); accepted is a valid number'):
        resolve(recipe)
    changed(recipe, 'lr = "1e-4"', "lr = ")
    with pytest.raises(InputError, match=r"is not TOML: .*line 9"):
        resolve(recipe)


def test_what_is_missing_is_asked_for(mine):
    with pytest.raises(UsageError, match="Give --model or --recipe"):
        resolve()
    with pytest.raises(UsageError, match=r"no prompts are named. Give --prompts FILE"):
        resolve(settings={"model": "sd1.4"})
    with pytest.raises(UsageError) as refused:
        resolve(method=mine[1], settings={"model": "owner/name"})
    message = str(refused.value)
    assert "--reward" in message and "--prompts" in message and "--steps" in message
    changed(mine[1], "lr = 1e-3", "")
    with pytest.raises(UsageError, match=r"optim.lr has no value: no method or recipe gives one"):
        resolve(method=mine[1], settings={"model": "m", "reward": "clip", "prompts": "p"})


def test_unknown_names_get_near_misses():
    with pytest.raises(UsageError, match="Did you mean 'shapes-flow'"):
        resolve("shape-flow")
    with pytest.raises(UsageError, match="Did you mean 'flow-grpo'"):
        resolve(method="flow-grp", settings={"model": "a/b"})
    with pytest.raises(InputError, match=r"'none\.toml' does not exist"):
        resolve("none.toml")


def test_a_recipe_names_its_method(mine):
    changed(mine[0], "method =", "prompts_ =")
    with pytest.raises(UsageError, match="names no method"):
        resolve(mine[0])


def test_a_recipe_is_not_run_with_another_method():
    with pytest.raises(UsageError, match="for the method nft, and the method flow-grpo is given"):
        resolve("shapes-flow", "flow-grpo")
    assert resolve("shapes-flow", "nft").config.method == "nft"


@pytest.mark.parametrize(
    ("model", "recipe"),
    [
        ("shapes-flow", "shapes-flow"),
        ("shapes-sd", "shapes-sd"),
        ("sd1.4", "sd1.4-dance"),
        ("SD1.5", "sd1.4-dance"),
        ("CompVis/stable-diffusion-v1-4", "sd1.4-dance"),
        ("sd3-medium", "sd3.5-medium-flow"),
    ],
)
def test_the_model_decides_the_recipe(model, recipe):
    resolved = resolve(settings={"model": model, "prompts": "p.txt"})
    assert resolved.config.recipe == recipe
    assert resolved.config.model == model
    assert f"using recipe {recipe}, the default" in resolved.notes[0]


def test_the_class_of_a_folders_pipeline_decides_too(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    settings = {"model": str(tmp_path), "prompts": "p.txt"}
    assert resolve(settings=settings).config.recipe == "sd3.5-medium-flow"
    (tmp_path / "model_index.json").write_text("[]")
    with pytest.raises(UsageError, match="no recipe is known for"):
        resolve(settings=settings)


def test_a_model_that_a_run_made_keeps_its_recipe(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusion3Pipeline"}')
    (tmp_path / "rewardkit.json").write_text('{"base": {"alias": "shapes-flow"}}')
    assert resolve(settings={"model": str(tmp_path)}).config.recipe == "shapes-flow"


def test_a_model_without_a_recipe_needs_one_or_a_method():
    with pytest.raises(UsageError, match=r"no recipe is known for owner/name\. Name one"):
        resolve(settings={"model": "owner/name"})
    with pytest.raises(UsageError, match=r"shapes-flwo\. Did you mean 'shapes-flow'\? Name one"):
        resolve(settings={"model": "shapes-flwo"})


def test_a_method_without_a_recipe_of_the_model_stands_alone():
    settings = SHAPES | {
        "reward": "shapes-graded",
        "prompts": "package:rewardkit.shapes/lists/train.jsonl",
        "steps": 3,
    }
    resolved = resolve(method="flow-grpo", settings=settings)
    assert (resolved.config.recipe, resolved.config.sampler.rule) == (None, "flow")
    assert resolve(method="nft", settings=SHAPES).config.recipe == "shapes-flow"


def test_another_reward_than_the_recipes_is_noted():
    (taken, other) = resolve(settings=SHAPES | {"reward": "shapes-clip"}).notes
    assert "the default for shapes-flow" in taken
    assert "the reward is shapes-clip" in other and "chosen for shapes-correct" in other
    # The same reward in other words is the same.
    named = resolve(
        "sd1.4-dance", settings={"prompts": "p", "reward": "0.7*hps+1.4*CLIP.dfn5b-h-14-378"}
    )
    assert named.notes == ()


def test_another_model_than_the_recipes_is_noted():
    assert resolve("shapes-flow", settings={"model": "mine/flow"}).notes == (
        "the recipe shapes-flow was chosen for shapes-flow",
    )


def test_rewards_are_recorded_under_their_full_names():
    settings = {"prompts": "p", "reward": "0.5*hps", "evaluation.rewards": "clip+hps@0.28"}
    config = resolve("sd1.4-dance", settings=settings).config
    assert config.reward == "0.5*hps.v2.1"
    assert config.evaluation.rewards == "clip.vit-l-14+hps.v2.1@0.28"


def test_raw_scores_are_added_with_weights_only():
    settings = {"model": "sd3.5-medium", "prompts": "p", "reward": "hps+clip"}
    with pytest.raises(UsageError, match="give each a weight"):
        resolve(settings=settings)
    resolve(settings=settings | {"reward": "hps+0.5*clip"} | {"reward": "2*hps+0.5*clip"})
    resolve(settings=settings | {"advantage.combine": "advantages"})


def test_another_objective_starts_anew_and_says_so(mine):
    recipe, method = mine
    changed(method, "clip_range = 1e-3", "clip_range = 1e-3\nkl = 0.5\nupdates = 3\nepochs = 2")
    settings = {"objective.kind": "forward-process", "objective.timesteps": "4"}
    resolved = resolve(recipe, settings=settings)
    objective = resolved.config.objective
    assert (objective.timesteps, objective.beta) == (4, 1.0)
    assert objective.kl == 0  # the method's is the weight of another penalty
    # What every kind has is the method's.
    assert (objective.updates, objective.epochs) == (3, 2)
    assert resolved.origins["objective.updates"] == f"method {method}"
    assert resolved.notes == (
        "objective.kind is forward-process (your setting) in place of policy-gradient, whose "
        "settings are left out: clip_range, kl",
    )
    assert resolve(recipe).notes == ()


FORWARD = {"objective.kind": "forward-process", "objective.timesteps": "4"}
ONCE = {"objective.timesteps": "4", "objective.updates": "1", "objective.epochs": "1"}
MATCHING = ONCE | {"objective.kind": "weighted-matching"}
CENTERED = ONCE | {"objective.kind": "centered-reward"}
PREFERENCE = ONCE | {"objective.kind": "group-preference", "objective.beta": "1"}
MASKED = {"objective.surrogate": "divergence"}
DISTILLED = {"objective.kind": "distillation", "objective.teachers": "a=b"}


@pytest.mark.parametrize(
    ("setting", "value", "without", "with_effect"),
    [
        ("objective.kl_space", "v", {}, {"objective.kl": "0.1"}),
        ("objective.subset", "sample", {}, {"objective.fraction": "0.5"}),
        ("objective.drop_last", "false", {"sampler.rule": "cps"}, {}),
        ("objective.clip_range", "0.1", {"objective.surrogate": "divergence"}, {}),
        ("objective.divergence", "0.1", {}, MASKED | {"objective.epochs": "2"}),
        ("objective.divergence", "0.1", MASKED, MASKED | {"objective.updates": "2"}),
        ("advantage.history", "32", {}, {"advantage.baseline": "history"}),
        ("advantage.history_min", "8", {}, {"advantage.baseline": "history"}),
        ("advantage.scale", "batch", {"advantage.baseline": "history"}, {}),
        ("advantage.eps", "0.1", {"advantage.scale": "none"}, {"advantage.combine": "gdpo"}),
        ("advantage.unbiased", "false", {"advantage.scale": "none"}, {}),
        ("objective.decay_slope", "0.1", FORWARD | {"objective.decay_cap": "0"}, FORWARD),
        ("objective.decay_start", "5", FORWARD | {"objective.decay_cap": "0"}, FORWARD),
        ("objective.decay_start", "5", FORWARD | {"objective.decay_slope": "0"}, FORWARD),
        ("objective.decay_cap", "0.9", FORWARD | {"objective.decay_slope": "0"}, FORWARD),
        ("objective.clip_range", "0.1", MATCHING, MATCHING | {"objective.epochs": "2"}),
        ("objective.ghuber_power", "0.5", MATCHING | {"objective.weighting": "t"}, MATCHING),
        ("objective.decay_cap", "0.5", MATCHING | {"objective.kl_slow": "0"}, MATCHING),
        ("objective.decay_slope", "0.5", MATCHING | {"objective.decay_cap": "0"}, MATCHING),
        ("objective.decay_cap", "0.5", CENTERED | {"objective.decay_slope": "0"}, CENTERED),
        (
            "objective.old_decay_slope",
            "0.5",
            CENTERED | {"objective.old_decay_cap": "0.2"},
            CENTERED,
        ),
        ("objective.old_decay", "0.2", CENTERED | {"objective.old_decay_cap": "0.1"}, CENTERED),
        ("objective.old_decay_cap", "0.3", CENTERED | {"objective.old_decay_slope": "0"}, CENTERED),
        ("objective.kl_worst", "0.5", CENTERED, CENTERED | {"objective.kl": "1"}),
        ("objective.decay_cap", "0.5", PREFERENCE, PREFERENCE | {"objective.reference": "old"}),
        ("objective.clip_range", "0.5", DISTILLED, DISTILLED | {"objective.form": "advantage"}),
        ("advantage.clamp", "2.5", DISTILLED, DISTILLED | {"objective.form": "advantage"}),
        ("advantage.scale", "none", DISTILLED, {}),
        ("objective.teacher_key", "x", DISTILLED, DISTILLED | {"objective.teachers": "a=b,c=d"}),
    ],
)
def test_a_setting_that_nothing_reads_is_refused(mine, setting, value, without, with_effect):
    recipe, _ = mine
    with pytest.raises(UsageError, match="no effect") as refused:
        resolve(recipe, settings={**without, setting: value})
    assert str(refused.value).casefold().startswith(f"{setting} is {value} (your setting), which")
    resolve(recipe, settings=without)
    resolve(recipe, settings={**with_effect, setting: value})


def test_a_setting_of_a_method_that_nothing_reads_is_noted(mine):
    recipe, method = mine
    changed(method, "clip_range = 1e-3", 'clip_range = 1e-3\nkl_space = "v"')
    assert resolve(recipe).notes == (
        f"objective.kl_space (method {method}): no effect, because objective.kl is 0, so there is "
        "no penalty",
    )
    assert resolve(recipe, settings={"objective.kl": "0.1"}).notes == ()


@pytest.mark.parametrize("recipe", [recipe.name for recipe in layers("recipe")])
def test_no_recipe_sets_what_nothing_reads(recipe):
    notes = resolve(recipe, settings={"prompts": "p.txt"}).notes
    assert not [note for note in notes if "no effect" in note]


def test_what_is_printed_is_a_recipe_again(tmp_path):
    first = resolve("sd1.4-dance", settings={"prompts": 'p "q".txt', "policy.targets": "to_q"})
    values = dict(flatten(first.config.model_dump(mode="json")))
    file = tmp_path / "again.toml"
    file.write_text(as_toml(values, first.origins), "utf-8")
    again = resolve(str(file)).config
    assert again == first.config.model_copy(update={"recipe": str(file)})
    assert tomllib.loads(file.read_text("utf-8"))["prompts"] == 'p "q".txt'


def test_counts_of_stable_diffusion():
    made = counts(resolve("sd1.4-dance", settings={"prompts": "p.txt"}).config)
    assert made == {
        "samples_per_step": 512,  # 32 x 16
        "rollout_model_calls": 6400,  # 512 / 4 batches of 50 steps
        "transitions_stored": 25088,  # 512 x 49, all but the last step
        "samples_trained": 512,
        "steps_trained_per_sample": 49,
        "gradient_model_calls_per_pass": 6272,  # 2 updates of 64 batches, 49 steps each
        "updates_per_step": 2,
        "total_samples": 153600,  # 300 x 512
        "total_updates": 600,
    }


def test_counts_of_the_embedded_world():
    # Of numbers given here: the recipe's own may be tuned.
    settings = {
        "steps": 70,
        "sampler.steps": 6,
        "sampler.prompts_per_step": 8,
        "sampler.group_size": 12,
        "sampler.batch_size": 40,
        "objective.timesteps": 5,
        "objective.updates": 2,
        "objective.epochs": 3,
    }
    made = counts(resolve("shapes-flow", settings=settings).config)
    assert made == {
        "samples_per_step": 96,  # 8 x 12
        "rollout_model_calls": 18,  # batches of 40, 40 and 16, 6 steps each
        "transitions_stored": 0,  # clean samples are enough
        "samples_trained": 96,
        "steps_trained_per_sample": 5,
        "gradient_model_calls_per_pass": 20,  # 2 updates of 48, batches of 40 and 8, 5 timesteps
        "updates_per_step": 6,
        "total_samples": 6720,
        "total_updates": 420,
    }


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 9),  # all of 10 but the last
        ({"objective.drop_last": False}, 10),
        ({"objective.fraction": 0.6}, 5),  # int(9 x 0.6)
        ({"objective.fraction": 0.01}, 1),  # at least one
        ({"sampler.rule": "cps"}, 9),
        ({"sampler.stochastic": "window", "sampler.window_size": 2, "sampler.window_within": 5}, 2),
    ],
)
def test_steps_that_are_trained_on(mine, settings, steps):
    made = counts(resolve(mine[0], settings=settings).config)
    assert made["steps_trained_per_sample"] == steps
    assert made["transitions_stored"] == 24 * steps


def test_of_each_group_the_best_and_worst_are_trained_on(mine):
    made = counts(resolve(mine[0], settings={"advantage.best": 4}).config)
    assert (made["samples_per_step"], made["samples_trained"]) == (24, 16)
    assert made["gradient_model_calls_per_pass"] == 16 * 9


def test_a_run_goes_on_with_its_own_configuration():
    stored = resolve("shapes-flow").config
    again = continued(type(stored).model_validate_json(stored.model_dump_json()), None, None, {})
    assert again.config == stored
    more = continued(stored, "shapes-flow", "nft", {"steps": "99"})
    assert more.config == stored.model_copy(update={"steps": 99})
    assert json.loads(more.config.model_dump_json())["steps"] == 99


# Code that a file names.

JUDGE = "from pathlib import Path\nPath({!r}).touch()\ndef score(batch):\n    return [1.0]\n"


@pytest.fixture
def judge(tmp_path):
    """A reward's file, and one that shows whether it was run."""
    file, ran = tmp_path / "judge.py", tmp_path / "ran"
    file.write_text(JUDGE.format(str(ran)))
    return file, ran


@pytest.mark.parametrize("key", ["reward", "evaluation.rewards"])
def test_code_that_a_recipe_names_is_run_only_if_it_is_trusted(mine, judge, key):
    recipe, _ = mine
    file, ran = judge
    name = f"0.5*{file}:score"
    changed(recipe, '"shapes-graded"', f'"{name}"' if key == "reward" else '"shapes-graded"')
    if key != "reward":
        changed(recipe, "[optim]", f'[evaluation]\nrewards = "{name}"\n[optim]')
    for trust in (None, lambda what: False):
        with pytest.raises(UsageError, match="its code is not run unless you say so") as refused:
            resolve(recipe, trust=trust)
        assert f"{key} is {name} (recipe {recipe})" in str(refused.value)
        assert not ran.exists()
    asked = []
    resolve(recipe, trust=lambda what: not asked.append(what))
    assert asked == [f"recipe {recipe} runs the code in {file}"] and ran.exists()
    ran.unlink()
    # What is given instead is not the recipe's, whose file is not looked at.
    resolve(recipe, settings={key: "sharpness"})
    assert not ran.exists()


def test_code_that_a_run_names_is_run_only_if_it_is_trusted(judge):
    file, ran = judge
    stored = resolve("shapes-flow").config.model_copy(update={"reward": f"{file}:score"})
    with pytest.raises(UsageError, match=r"\(the run\), and its code is not run"):
        continued(stored, None, None, {})
    assert not ran.exists()
    assert continued(stored, None, None, {"reward": f"{file}:score"}).config == stored
    assert continued(stored, None, None, {}, trust=lambda what: True).config == stored


def test_a_service_that_a_file_names_is_called_only_if_it_is_trusted(mine):
    """It would be sent the samples, and the key in the environment."""
    recipe, _ = mine
    url, mine_too = "http://theirs:1/v1", "http://mine:1/v1"
    changed(recipe, "[optim]", f'[scoring]\nendpoint = "{url}"\n[optim]')
    for trust in (None, lambda what: False):
        with pytest.raises(UsageError, match=rf"{url} \(recipe .*, and it is not called unless"):
            resolve(recipe, trust=trust)
    asked = []
    trusted = resolve(recipe, trust=lambda what: not asked.append(what)).config
    assert asked == [f"recipe {recipe} calls the service at {url}"]
    settings = {"scoring.endpoint": mine_too}
    assert resolve(recipe, settings=settings).config.scoring.endpoint == mine_too
    with pytest.raises(UsageError, match=r"\(the run\), and it is not called"):
        continued(trusted, None, None, {})
    assert continued(trusted, None, None, settings).config.scoring.endpoint == mine_too


def test_raw_scores_say_who_asked_for_them():
    settings = {"model": "sd3.5-medium", "prompts": "p", "reward": "hps+clip"}
    with pytest.raises(UsageError, match=r"advantage\.combine is raw \(method flow-grpo\)"):
        resolve(settings=settings)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("optim.learning_rate", "'optim.lr'"),
        ("learning_rate", "'optim.lr'"),
        ("policy.lora_rank", "'policy.rank'"),
        ("guidance_scale", "'sampler.guidance'"),
        ("max_train_steps", "'steps'"),
    ],
)
def test_names_of_other_trainers_are_known(key, message):
    with pytest.raises(UsageError, match=f"Did you mean {message}"):
        resolve(settings=SHAPES | {key: "1"})


def test_the_names_that_are_suggested_there_are():
    known = {**fields("policy-gradient"), **fields("forward-process")}
    assert set(grpo.config.settings._ELSEWHERE.values()) <= set(known)
    assert not set(grpo.config.settings._ELSEWHERE) & {key.rpartition(".")[2] for key in known}


# A file that extends another.


def test_a_recipe_extends_another(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('extends = "shapes-flow"\nsteps = 7\n[optim]\nlr = 5e-5\n')
    config, base = resolve(str(file)).config, resolve("shapes-flow").config
    assert (config.steps, config.optim.lr, config.recipe) == (7, 5e-5, str(file))
    same = {"steps": base.steps, "optim": base.optim, "recipe": base.recipe}
    assert config.model_copy(update=same) == base
    again = tmp_path / "again.toml"
    again.write_text(f'extends = "{file}"\nseed = 3\n')
    config = resolve(str(again)).config
    assert (config.seed, config.steps, config.optim.lr) == (3, 7, 5e-5)


def test_a_recipe_that_extends_itself_or_nothing_is_refused(tmp_path):
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text(f'extends = "{two}"\n')
    two.write_text(f'extends = "{one}"\n')
    with pytest.raises(InputError, match=r"extends itself, by way of .*one\.toml, .*two\.toml"):
        resolve(str(one))
    two.write_text('extends = "shape-flow"\n')
    with pytest.raises(UsageError, match="Did you mean 'shapes-flow'"):
        resolve(str(one))
