"""Training at true size: what the device holds, and that a step in low precision is a step."""

import full_size
import pytest
import tiny_pipelines
import tiny_runs
import torch
from transformers import T5Config, T5EncoderModel

from grpo import checkpoint, policies
from grpo.evaluation import generate
from grpo.rewards import Rewards
from grpo.rollout import collect
from grpo.trainer import Trainer
from rewardkit.generators.placement import cast, visiting
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import PromptLine, read

GIB = 2**30


def trainer(bench, folder, *, sampler=None, policy=None, **sections):
    """A trainer as `grpo train` makes it: 2 prompts, 2 samples each, at 512 px where it is full."""
    size = {"height": 512, "width": 512} if bench.full else {}
    asked = tiny_runs.config(
        folder,
        sampler={"steps": 4, "group_size": 2, "batch_size": 2, **size, **(sampler or {})},
        policy={"dtype": "bfloat16", "gradient_checkpointing": True, **(policy or {})},
        **sections,
    )
    made = policies.of(policies.load(asked), asked, bench.device)
    rewards = Rewards(asked.reward, str(bench.device), asked.scoring)
    return Trainer(asked, made, rewards, read(asked.prompts))


def size_of(module):
    return sum(p.numel() * p.element_size() for p in module.parameters()) / GIB


def changed(trainer, before):
    after = trainer.policy.parameters()
    assert all(p.isfinite().all() for p in after.values())
    return any(not torch.equal(p, before[name]) for name, p in after.items())


def copied(trainer):
    return {name: p.detach().clone() for name, p in trainer.policy.parameters().items()}


def test_a_lora_run_loads_in_its_dtype_and_leaves_text_encoders_on_the_cpu(bench):
    folder = bench.pipeline("sd3")
    with bench.peak("SD 3.5 Medium, loaded") as peak:
        made = trainer(bench, folder)
    policy, pipe = made.policy, made.policy.pipeline.diffusers
    trained = {id(p) for p in policy.parameters().values()}
    frozen = [p for p in policy.network.parameters() if id(p) not in trained]
    assert {p.dtype for p in frozen} == {torch.bfloat16}
    assert {p.dtype for p in policy.parameters().values()} == {torch.float32}
    assert {p.dtype for p in pipe.vae.parameters()} == {torch.float32}
    assert {p.device.type for p in policy.network.parameters()} == {bench.device.type}
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        assert {p.device.type for p in encoder.parameters()} == {"cpu"}
    held = size_of(policy.network) + size_of(pipe.vae)
    bench.record("SD 3.5 Medium, weights", held, "GiB")
    assert peak[0] <= 1.1 * held + 0.1


def test_embeddings_are_made_on_the_device_which_is_then_free_again(bench):
    made = trainer(bench, bench.pipeline("sd3"))
    before = bench.allocated()
    with bench.peak("SD 3.5 Medium, embedding by two CLIPs"):
        condition = made.policy.encode([PromptLine("", "a red ring"), PromptLine("", "two boxes")])
    assert {t.device.type for t in condition.per_sample.values()} == {bench.device.type}
    assert bench.allocated() - before < 0.1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_t5_visits_the_device_and_keeps_its_authors_float32_layers(bench, dtype):
    with full_size.built_on(bench.device, dtype):
        t5 = full_size.t5_xxl() if bench.full else _tiny_t5()
    t5 = t5.to("cpu").eval()
    before = bench.allocated()
    cast(t5, dtype)
    kept = [n for n, p in t5.named_parameters() if p.dtype == torch.float32]
    # Of T5, transformers keeps them in float16 alone.
    assert bool(kept) == (dtype == torch.float16) and all(".wo." in name for name in kept)
    tokens = torch.arange(2, 22).reshape(2, 10)
    with (
        bench.peak(f"T5-XXL, {dtype}"),
        bench.seconds(f"T5-XXL, {dtype}, there and back"),
        visiting([t5], bench.device),
        torch.no_grad(),
    ):
        embedded = t5(tokens.to(bench.device))[0].cpu()
    assert embedded.isfinite().all()
    assert {p.device.type for p in t5.parameters()} == {"cpu"}
    assert bench.allocated() - before < 0.1


def _tiny_t5():
    return T5EncoderModel(
        T5Config(
            vocab_size=32, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_a_lora_step_in_bfloat16_trains(bench, name):
    # One update: its ratios are those before any, whatever the step would have made of them.
    once = {"kind": "policy-gradient", "updates": 1}
    made = trainer(bench, bench.pipeline(name), objective=once)
    before = copied(made)
    with bench.peak(f"{name} LoRA step, 512 px"), bench.seconds(f"{name} LoRA step, 512 px"):
        figures = made.step(0)
    assert changed(made, before)
    assert figures.values["ratio"] == pytest.approx(1.0, abs=1e-3)
    assert figures.values["grad_norm"] > 0


def test_all_weights_of_stable_diffusion_train_in_bfloat16(bench):
    folder = bench.pipeline("sd")
    made = trainer(bench, folder, policy={"parameters": "full"})
    assert {p.dtype for p in made.policy.parameters().values()} == {torch.float32}
    before = copied(made)
    with bench.peak("sd, all weights, a step"), bench.seconds("sd, all weights, a step"):
        made.step(0)
    assert changed(made, before)


def test_float16_scales_losses_and_leaves_weights_finite(bench):
    folder = bench.pipeline("sd", torch.float16)
    made = trainer(bench, folder, policy={"dtype": "float16"})
    before, skipped = copied(made), 0.0
    for index in range(3):
        skipped += made.step(index).values["updates_skipped"]
    assert made.optimizer.scaler.is_enabled()
    assert changed(made, before)
    bench.record("updates left out of 6 while the scale settles", skipped, "")


def test_a_run_with_averaged_weights_and_a_reference_goes_on_from_its_checkpoint(bench, tmp_path):
    folder = bench.pipeline("sd")
    settings = {
        "objective": tiny_runs.FORWARD | {"kl": 0.1},
        "policy": {"ema": 0.9},
        "sampler": {"guidance": 3.0},
    }
    made = trainer(bench, folder, **settings)
    made.step(0)
    path = checkpoint.save(tmp_path, 1, made.state(), 1)
    del made
    made = trainer(bench, folder, **settings)
    state = checkpoint.load(path)
    checkpoint.check(path, state, made.state())
    made.restore(state)
    before = copied(made)
    made.step(1)
    assert changed(made, before)
    moments = [one["exp_avg"] for one in made.optimizer.adamw.state.values()]
    for tensors in (moments, *(bank.values.values() for bank in made.policy.banks.values())):
        assert {tensor.device.type for tensor in tensors} == {bench.device.type}
    with made.averaged():
        protocol = made.policy.protocol.model_copy(update={"steps": 2})
        pictures = generate(made.policy, [Request("a ring", 0)], protocol, 1)
    assert pictures[0].device.type == "cpu"


def test_log_probabilities_replayed_before_any_update_are_those_of_the_samples(bench):
    made = trainer(bench, bench.pipeline("sd"), objective=tiny_runs.GRADIENT)
    figures = made.step(0).values
    drift = [value for name, value in figures.items() if name.startswith("drift/")]
    assert drift
    bench.record("largest mean drift of a step, bfloat16", max(drift), "nats per dimension")
    bench.record("log-probabilities recomputed", figures.get("log_probs_recomputed", 0.0), "")
    # Far beyond any clip range, samples would not be the policy's own.
    assert max(drift) < 0.05


def test_what_a_rollout_keeps_does_not_stay_on_the_device(bench):
    made = trainer(bench, bench.pipeline("sd3"), sampler={"steps": 8})
    lines = made.choose(0)
    plan = made.objective.plan(len(lines), _rng())
    before = bench.allocated()
    with bench.peak("SD 3.5 Medium, rollout of 8 steps, 512 px"):
        rollout = collect(
            made.policy,
            made.sampler,
            lines,
            made.config.sampler,
            plan,
            (0, 0),
        )
    assert {medium.device.type for medium in rollout.media} == {"cpu"}
    # Embeddings of the prompts alone are left there.
    assert bench.allocated() - before < 0.1


def _rng():
    import numpy as np

    return np.random.default_rng(0)


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_evaluation_shows_the_pixels_that_training_scores(bench, name):
    made = trainer(bench, bench.pipeline(name))
    policy, pipe = made.policy, made.policy.pipeline.diffusers
    seen = []
    pipe.vae.decoder.register_forward_pre_hook(
        lambda module, inputs: seen.append(
            (inputs[0].dtype, torch.is_autocast_enabled(bench.device.type))
        )
    )
    protocol = policy.protocol.model_copy(update={"steps": 2})
    generate(policy, [Request("a red ring", 0)], protocol, 1)
    policy.decode(policy.noise([torch.Generator().manual_seed(0)]))
    assert set(seen) == {(torch.float32, False)}


def test_the_builtin_generator_makes_the_same_pictures_on_this_device(bench):
    from rewardkit.generators.pipelines import load

    made = [
        tiny_pipelines.pictures(
            load("shapes-flow", device=device),
            ["a red ring", "two blue squares"],
            [0, 1],
            protocol=load("shapes-flow", device="cpu").protocol,
        )
        for device in ("cpu", str(bench.device))
    ]
    most, mean = tiny_pipelines.levels(*made)
    if bench.full:
        bench.record("shapes-flow, CPU against GPU, largest difference", most, "levels of 255")
    assert mean < 1
