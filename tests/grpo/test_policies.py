"""A policy is its pipeline, in parts; only what is trained moves, and it can be put aside."""

from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_policies
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tiny_policies import STEPS, config, inputs, policy, sampling

from grpo import policies, preview
from grpo.testing import check_policy, check_sampling
from rewardkit import plugins
from rewardkit.errors import RewardKitError, UsageError, WeightsError
from rewardkit.generators.pipelines import generate, load
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import PromptLine

# Before the shift, without the 0 at the end, which diffusers appends.
EVEN = np.linspace(1, 0, STEPS + 1)[:-1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


def predicted(made):
    with torch.no_grad():
        return made.predict(*inputs(made))


# Against plain diffusers.


@pytest.mark.parametrize("guidance", [1.0, 4.0], ids=["plain", "guided"])
@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("name", ["sd", "sd-v", "sd3"])
def test_a_policy_conforms(folders, name, parameters, guidance, tmp_path):
    changes = {"guidance": guidance, "height": 24, "width": 40}
    run = config(name, sampler=changes, policy={"parameters": parameters})
    check_policy(policies.of(load(folders[name], device="cpu"), run), run, tmp_path)


@pytest.mark.parametrize("shift", [None, 5.0])
def test_even_sigmas_are_what_diffusers_makes_of_even_sigmas(folders, shift):
    made = policy(folders["sd3"])
    steps = sampling("sd3", schedule="uniform", shift=shift, rule="cps")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift or 3.0)
    check_sampling(made, steps, scheduler, sigmas=EVEN)


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_a_shift_by_size_is_the_pipelines(folders, kind):
    made = policy(folders["sd3"])
    pipe = made.pipeline.diffusers
    pipe.scheduler.register_to_config(use_dynamic_shifting=True, time_shift_type=kind)
    check_sampling(made, sampling("sd3"))
    # A linear shift divides by sigma - 1 at sigma 1.
    with np.errstate(divide="ignore"):
        check_sampling(made, sampling("sd3", schedule="uniform"), sigmas=EVEN)


# What it is asked for.


def test_the_protocol_is_the_pipelines_but_for_what_the_run_says(folders):
    own = load(folders["sd3"], device="cpu").protocol
    unsaid = {"guidance": None, "max_sequence_length": None}
    assert policy(folders["sd3"], sampler=unsaid).protocol == own
    said = {"guidance": 2.0, "height": 16, "width": 48, "max_sequence_length": 0}
    made = policy(folders["sd3"], sampler=said)
    assert made.protocol == Protocol(steps=own.steps, **said)
    assert made.shape == (4, 4, 12)
    # 16 tokens of CLIP, and no vectors for the T5 that is not there.
    assert made.encode([PromptLine("", "a")]).per_sample["encoder_hidden_states"].shape == (
        2,
        1,
        16,
        32,
    )


def test_what_the_pipeline_cannot_keep_is_refused(folders):
    with pytest.raises(UsageError, match="multiples of 8; height 36"):
        policy(folders["sd"], sampler={"height": 36})
    with pytest.raises(UsageError, match="does not use max_sequence_length"):
        policy(folders["sd"], sampler={"max_sequence_length": 8})


@pytest.mark.parametrize(
    ("name", "rule", "accepted"),
    [("sd", "flow", "ddim$"), ("sd3", "ddim", "dance, flow, cps, ode$")],
)
def test_a_rule_of_another_kind_is_refused(folders, name, rule, accepted):
    made = policy(folders[name])
    with pytest.raises(UsageError, match=f"sampler.rule '{rule}' given for a .*{accepted}"):
        made.schedule(sampling(name, rule=rule))


def test_what_is_replaced_is_logged_and_stays_as_it_is(folders, caplog):
    made = policy(folders["sd"])
    before = made.pipeline.diffusers.scheduler
    with caplog.at_level("INFO", logger="grpo"):
        made.schedule(sampling("sd"))
    assert "4 first-order steps of rule ddim in place of PNDMScheduler" in caplog.text
    assert made.pipeline.diffusers.scheduler is before


def test_classes_without_a_policy_are_refused_with_those_that_have_one():
    pipe = type("AnotherPipeline", (), {})()
    pipeline = SimpleNamespace(diffusers=pipe, source="here", tuned=None)
    accepted = "here is a AnotherPipeline, .*Accepted: .*StableDiffusion3Pipeline, StableDiff"
    with pytest.raises(UsageError, match=accepted):
        policies.of(pipeline, config("sd"))


def test_what_cannot_be_trained_is_refused(folders):
    pipeline = load(folders["sd"], device="cpu")
    pipeline.diffusers.unet.register_to_config(time_cond_proj_dim=8)
    with pytest.raises(UsageError, match="latent consistency model"):
        policies.of(pipeline, config("sd"))


# Plug-ins.


class Another(policies.Policy):
    pipeline_classes = ("AnotherPipeline",)
    rules = ("ddim",)
    _schedule = _embed = predict = None  # nothing is asked of it

    def __init__(self, pipeline, config, device=None, world=None):
        self.made_from = pipeline


class Rival(Another):
    pipeline_classes = ("StableDiffusionPipeline",)


@pytest.fixture
def plug_in(monkeypatch):
    """Makes a name of this module the only plug-in there is."""

    def install(name):
        entry = EntryPoint("another", f"test_policies:{name}", "grpo.policies")
        monkeypatch.setattr(EntryPoint, "load", lambda self: globals()[name])
        monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] * (group == entry.group))
        policies.families.cache_clear()

    yield install
    policies.families.cache_clear()


def test_a_plug_in_trains_its_class(plug_in):
    plug_in("Another")
    pipe = type("AnotherPipeline", (), {})()
    pipeline = SimpleNamespace(diffusers=pipe, source="here", tuned=None)
    assert policies.of(pipeline, config("sd")).made_from is pipeline


def test_a_dry_run_knows_a_plug_in(plug_in, tmp_path):
    plug_in("Another")
    (tmp_path / "model_index.json").write_text('{"_class_name": "AnotherPipeline"}')
    looked = preview.look(str(tmp_path))
    preview.check(config("sd", sampler={"height": 33, "width": 33}), looked)
    with pytest.raises(UsageError, match="its rules are ddim"):
        preview.check(config("sd", sampler={"rule": "cps"}), looked)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("Rival", "StableDiffusionPipeline are trained by grpo"),
        ("absent", "test_policies:absent"),
    ],
)
def test_a_plug_in_that_cannot_be_is_named(plug_in, folders, name, what):
    plug_in(name)
    with pytest.raises(RewardKitError, match=what):
        policy(folders["sd"])


# Banks of weights.


def zeroed(made):
    """Keeps zeros under that name."""
    made.keep("zeros")
    bank = made.banks["zeros"]
    bank.restore({name: torch.zeros_like(value) for name, value in bank.values.items()})


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_weights_of_a_bank_are_in_force_inside_the_block_alone(folders, name):
    made = policy(folders[name], sampler={"guidance": 3.0})
    trained = made.parameters()
    own = {key: value.detach().clone() for key, value in trained.items()}
    before = predicted(made)
    with made.using("start"):
        base = predicted(made)
    zeroed(made)
    with pytest.raises(ZeroDivisionError), made.using("zeros"):
        assert torch.allclose(predicted(made), base, atol=1e-5)
        assert not torch.is_grad_enabled()
        raise ZeroDivisionError
    assert torch.equal(predicted(made), before)
    assert not torch.allclose(before, base, atol=1e-2)
    assert all(torch.equal(trained[key], own[key]) for key in own)
    assert not any(value.any() for value in made.banks["zeros"].values.values())


def test_a_graph_made_before_a_swap_has_its_own_gradients(folders):
    made = policy(folders["sd"])
    trained = made.parameters()
    zeroed(made)

    def gradients(other):
        output = made.predict(*inputs(made))
        if other:
            with made.using("zeros"):
                made.predict(*inputs(made))
            with made.using("start"):
                made.predict(*inputs(made))
        values = torch.autograd.grad(output.square().sum(), list(trained.values()))
        return torch.cat([value.flatten() for value in values])

    assert torch.equal(gradients(other=True), gradients(other=False))


def test_a_surrounding_autocast_does_not_remember_weights_of_a_bank(folders):
    made = policy(folders["sd"], policy={"dtype": "bfloat16"})
    zeroed(made)
    with made.using("start"):
        base = predicted(made)
    with made.autocast():
        before = predicted(made)
        with made.using("zeros"):
            assert torch.allclose(predicted(made), base, atol=1e-6)
        assert torch.equal(predicted(made), before)
    assert not torch.allclose(before, base, atol=1e-2)


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_the_reference_is_the_model_at_the_start(folders, parameters):
    made = policy(folders["sd"], policy={"parameters": parameters})
    made.keep("start")
    assert ("start" in made.banks) == (parameters == "full")
    start = predicted(policy(folders["sd"], policy={"parameters": "full"}))
    with torch.no_grad():
        for weight in made.parameters().values():
            weight.add_(0.05)
    assert not torch.allclose(predicted(made), start, atol=1e-2)
    with made.using("start"):
        assert torch.allclose(predicted(made), start, atol=1e-5)
        assert not made.predict(*inputs(made)).requires_grad
    assert all(weight.requires_grad for weight in made.parameters().values())
    assert not torch.allclose(predicted(made), start, atol=1e-2)


def test_weights_that_were_not_kept_are_named(folders):
    made = policy(folders["sd"], policy={"parameters": "full"})
    with pytest.raises(KeyError, match="no weights are kept as 'start'"), made.using("start"):
        pass


# Precision, memory, wrappers.


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_bfloat16_computes_in_it_and_trains_in_float32(folders, name, parameters):
    changes = {"sampler": {"guidance": 3.0}, "policy": {"parameters": parameters}}
    exact = predicted(policy(folders[name], **changes))
    made = policy(folders[name], **changes | {"policy": {**changes["policy"], "dtype": "bfloat16"}})
    output = predicted(made)
    # bfloat16 has 8 bits: of values about 1, a few layers leave 2 digits.
    assert output.dtype == torch.float32
    assert 1e-5 < (output - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert {weight.dtype for weight in made.parameters().values()} == {torch.float32}
    base = {p.dtype for p in made.network.parameters() if not p.requires_grad}
    assert base == ({torch.bfloat16} if parameters == "lora" else set())
    assert made.pipeline.diffusers.vae.dtype == torch.float32
    with made.autocast():  # the pipeline as a whole, as an evaluation samples it
        protocol = made.protocol.model_copy(update={"steps": 2})
        (picture,) = generate(made.pipeline, [Request("a", 0)], protocol=protocol)
    assert picture.shape == (3, 32, 32)


@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_gradient_checkpointing_changes_memory_alone(folders, name, parameters):
    def gradients(checkpointing):
        settings = {"parameters": parameters, "gradient_checkpointing": checkpointing}
        made = policy(folders[name], policy=settings)
        assert made.network.is_gradient_checkpointing is checkpointing
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(1) or t, lambda t: t):
            output = made.predict(*inputs(made))
        output.square().sum().backward()
        grads = {k: p.grad for k, p in made.parameters().items() if p.grad is not None}
        return grads, len(saved)

    (plain, kept), (again, fewer) = gradients(False), gradients(True)
    assert fewer < kept
    assert plain.keys() == again.keys()
    for key in plain:
        torch.testing.assert_close(again[key], plain[key], rtol=1e-5, atol=1e-5)


def test_a_wrapper_of_the_network_is_what_is_called(folders):
    made = policy(folders["sd3"])
    before, calls = predicted(made), []
    wrapper = torch.nn.Sequential(made.network)
    wrapper.forward = lambda *args, **named: calls.append(1) or made.network(*args, **named)
    made.modules["transformer"] = wrapper
    assert torch.equal(predicted(made), before)
    assert calls == [1]


def test_guidance_is_one_call_of_twice_the_batch(folders):
    made = policy(folders["sd"], sampler={"guidance": 4.0})
    x, timesteps, condition = inputs(made)
    sizes = []
    made.network.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    with torch.no_grad():
        guided = made.predict(x, timesteps, condition)
        assert sizes == [4]
        halves = [
            made.network(x, timesteps, condition.per_sample["encoder_hidden_states"][half]).sample
            for half in (0, 1)
        ]
    # Ho and Salimans 2022, https://arxiv.org/abs/2207.12598, with w = 4.
    close(guided, halves[0] + 4 * (halves[1] - halves[0]))


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_the_half_without_the_prompt_has_gradients_unless_it_is_detached(folders, name, detach):
    made = policy(folders[name], sampler={"guidance": 4.0}, policy={"detach_uncond": detach})
    x, timesteps, condition = inputs(made)
    weights = list(made.parameters().values())

    def half(which):
        named = {key: tensor[which] for key, tensor in condition.per_sample.items()}
        return made.network(x, timestep=timesteps, return_dict=False, **named)[0]

    def gradient(output):
        # A weighted sum: the square of the output would depend on how it is guided.
        given = torch.autograd.grad((output * x).sum(), weights, allow_unused=True)
        return torch.cat([torch.zeros(1) if one is None else one.flatten() for one in given])

    # yifan123/flow_grpo scripts/train_sd3.py: compute_log_prob, with and without its detach.
    without = half(0).detach() if detach else half(0)
    expected = gradient(without + 4 * (half(1) - without))
    ours = gradient(made.predict(x, timesteps, condition))
    other = gradient(half(0) + 4 * (half(1) - half(0))) if detach else gradient(4 * half(1))
    assert torch.dist(ours, expected) < 1e-4 * expected.norm()
    assert torch.dist(ours, other) > 0.05 * other.norm()


def test_a_picture_that_is_not_a_number_is_an_error(folders):
    made = policy(folders["sd"])
    latents = torch.zeros(2, *made.shape)
    latents[1, 0, 0, 0] = float("nan")
    with pytest.raises(WeightsError, match="not a number"):
        made.decode(latents)
