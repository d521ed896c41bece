"""What is where, and in which dtype: what a device holds of a run, and when.

The device "meta" stands for a GPU: a tensor there has a shape and a dtype, and whatever would make
the host wait for its numbers fails.
"""

import math
import weakref

import pytest
import tiny_pipelines
import tiny_policies
import tiny_runs
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, ModelMixin, SD3Transformer2DModel
from tiny_policies import config

from grpo import policies
from grpo.evaluation import generate
from grpo.policies import embeddings
from grpo.sde import cps, dance, ddim, flow, log_prob
from rewardkit.errors import WeightsError
from rewardkit.generators.pipelines import Pipeline, load
from rewardkit.generators.protocol import Protocol
from rewardkit.generators.requests import Request
from rewardkit.media.prompts import PromptLine

META = torch.device("meta")
LOW = {"dtype": "bfloat16"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    tiny_pipelines.sd3_t5(home / "tokenizer").save_pretrained(home / "t5")
    return tiny_policies.saved(home) | {"t5": home / "t5"}


def of_run(folder, device=None, **settings):
    """A policy as `grpo train` makes it."""
    asked = config("sd3" if folder.name == "t5" else folder.name, policy=settings)
    asked = asked.model_copy(update={"model": str(folder)})
    return policies.of(policies.load(asked), asked, device)


def placed(made):
    """Of each part, the devices and the dtypes of its frozen and of its trained tensors."""
    parts = made.pipeline.diffusers.components.items()
    return {
        name: {
            (tensor.device.type, str(tensor.dtype).removeprefix("torch."))
            for tensor in part.parameters()
        }
        for name, part in parts
        if isinstance(part, torch.nn.Module)
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("parameters", ["lora", "full"])
@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_the_device_holds_the_network_and_the_vae(folders, name, parameters, dtype):
    made = of_run(folders[name], META, parameters=parameters, dtype=dtype)
    encoders = {part for part in placed(made) if part.startswith("text_encoder")}
    assert len(encoders) == (1 if name == "sd" else 2)
    network = {("meta", "float32")}  # of a full run, what is trained
    if parameters == "lora":
        network |= {("meta", dtype)}
    assert placed(made) == {
        made.parts[0]: network,
        "vae": {("meta", "float32")},
        **{part: {("cpu", dtype)} for part in encoders},
    }
    assert made.device == META


@pytest.mark.parametrize("parameters", ["lora", "full"])
def test_a_run_loads_what_it_trains_exactly_and_the_rest_in_its_dtype(folders, parameters):
    asked = config("sd3", policy={"parameters": parameters, **LOW})
    pipeline = policies.load(asked.model_copy(update={"model": str(folders["sd3"])}))
    pipe = pipeline.diffusers
    exact = torch.float32 if parameters == "full" else torch.bfloat16
    assert pipe.transformer.dtype == exact and pipe.text_encoder.dtype == torch.bfloat16
    assert pipe.vae.dtype == torch.float32 and pipeline.provenance()["dtype"] == "bfloat16"


@pytest.mark.parametrize(("parameters", "gibibytes"), [("lora", 5.2), ("full", 9.8)])
def test_stable_diffusion_3_5_medium_takes_what_its_network_and_its_vae_take(
    folders, parameters, gibibytes
):
    tiny = load(folders["sd3"], device="cpu")
    with META:
        tiny.diffusers.register_modules(
            transformer=SD3Transformer2DModel(
                sample_size=128,
                num_layers=24,
                num_attention_heads=24,
                attention_head_dim=64,
                caption_projection_dim=1536,
                joint_attention_dim=4096,
                pooled_projection_dim=2048,
                pos_embed_max_size=384,
                dual_attention_layers=tuple(range(13)),
                qk_norm="rms_norm",
            ),
            vae=AutoencoderKL(
                block_out_channels=(128, 256, 512, 512),
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                latent_channels=16,
                layers_per_block=2,
            ),
        )
    protocol = Protocol(steps=40, guidance=4.5, height=1024, width=1024, max_sequence_length=256)
    pipeline = Pipeline(tiny.diffusers, "in memory", None, None, None, None, protocol)
    made = policies.of(
        pipeline,
        config(
            "sd3", sampler={"height": 1024, "width": 1024}, policy={"parameters": parameters, **LOW}
        ),
        META,
    )
    there = [
        tensor.numel() * tensor.element_size()
        for part in (made.network, made.pipeline.diffusers.vae)
        for tensor in part.state_dict().values()
    ]
    assert gibibytes * 0.9 < sum(there) / 2**30 < gibibytes


@pytest.mark.parametrize("name", ["sd", "sd3"])
def test_a_pipeline_samples_where_its_network_is_and_not_its_text_encoders(
    folders, name, monkeypatch
):
    made = of_run(folders[name])
    # Networks of diffusers as on a GPU; text encoders are of transformers.
    monkeypatch.setattr(ModelMixin, "device", property(lambda network: torch.device("cuda", 0)))
    pipe = made.pipeline.diffusers
    assert pipe.text_encoder.device.type == "cpu"
    assert pipe._execution_device == torch.device("cuda", 0)


# Prompts.


def requests(prompts):
    return [Request(prompt, seed) for seed, prompt in enumerate(prompts)]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_prompts_are_embedded_as_plain_diffusers_does_in_that_dtype(folders, dtype):
    made = of_run(folders["t5"], dtype=dtype)
    theirs = DiffusionPipeline.from_pretrained(folders["t5"], dtype=getattr(torch, dtype))
    with torch.no_grad():
        states, _, pooled, _ = theirs.encode_prompt(
            "a red ring", None, None, do_classifier_free_guidance=False, max_sequence_length=16
        )
    inputs = made.encode([PromptLine("", "a red ring")]).per_sample
    assert states.dtype == getattr(torch, dtype)
    assert torch.equal(inputs["encoder_hidden_states"][0], states)
    assert torch.equal(inputs["pooled_projections"][0], pooled)


def test_t5_whose_sums_are_too_large_for_float16_is_embedded_all_the_same(folders):
    def embedded(dtype):
        made = of_run(folders["t5"], dtype=dtype)
        with torch.no_grad():
            for name, tensor in made.pipeline.diffusers.text_encoder_3.named_parameters():
                if ".wo." in name:
                    tensor.mul_(1e9)
        return (
            made.encode([PromptLine("", "a red ring")]).per_sample["encoder_hidden_states"].float()
        )

    torch.testing.assert_close(embedded("float16"), embedded("float32"), rtol=0, atol=0.02)


def test_an_embedding_that_is_not_finite_is_an_error_that_names_the_prompt(folders):
    made = of_run(folders["t5"], dtype="float16")
    with torch.no_grad():
        made.pipeline.diffusers.text_encoder_3.encoder.final_layer_norm.weight.fill_(float("inf"))
    with pytest.raises(WeightsError, match=r"of 'a ring' that is not finite.*bfloat16"):
        made.encode([PromptLine("", "a ring")])


@pytest.fixture
def visits(monkeypatch):
    """How many prompts each visit of the text encoders embeds."""
    counts, visiting, real = [], embeddings.visiting, embeddings._embed

    def visit(*given):
        counts.append(0)
        return visiting(*given)

    def embed(*given):
        counts[-1] += 1
        return real(*given)

    monkeypatch.setattr(embeddings, "visiting", visit)
    monkeypatch.setattr(embeddings, "_embed", embed)
    return counts


def test_text_encoders_visit_for_many_steps_at_once(folders, visits):
    trainer = tiny_runs.trainer(tiny_runs.config(folders["sd"], sampler={"guidance": 3.0}))
    for step in range(3):
        trainer.step(step)
    assert visits == [4]  # three prompts and the empty one
    made, protocol = trainer.policy, trainer.policy.protocol.model_copy(update={"steps": 1})
    prompts = [*tiny_runs.PROMPTS, "another", "one more"] * 2
    for _ in range(2):
        generate(made, requests(prompts), protocol, 4)
    assert visits == [4, 2]


def test_pictures_of_as_many_prompts_as_are_remembered_take_one_visit_a_part(
    folders, visits, monkeypatch
):
    for name in ("grpo.evaluation", "grpo.policies.embeddings"):
        monkeypatch.setattr(f"{name}.REMEMBERED", 4)
    made = of_run(folders["sd"], **LOW)
    protocol = made.protocol.model_copy(update={"steps": 1})
    made.protocol = protocol.model_copy(update={"guidance": 3.0})
    generate(made, requests("abcd"), made.protocol, 1)
    assert visits == [4, 1]  # with the empty prompt, three of them


def test_what_is_remembered_is_bounded_and_changes_no_number(folders, visits, monkeypatch):
    def outcome():
        trainer = tiny_runs.trainer(tiny_runs.config(folders["sd"], sampler={"guidance": 3.0}))
        for step in range(3):
            trainer.step(step)
        return trainer.policy

    ample = outcome()
    for name in ("grpo.evaluation", "grpo.policies.embeddings", "grpo.trainer"):
        monkeypatch.setattr(f"{name}.REMEMBERED", 2)
    tight = outcome()
    assert len(ample._embedded) == 4 and len(tight._embedded) == 3  # a step's, and the empty one
    assert visits[0] == 4 and len(visits) == 4 and max(visits[1:]) <= 3
    assert all(torch.equal(p, tight.parameters()[n]) for n, p in ample.parameters().items())
    protocol = ample.protocol.model_copy(update={"steps": 1})
    pictures = [generate(one, requests("abcde"), protocol, 2) for one in (ample, tight)]
    assert torch.equal(*map(torch.stack, pictures))


def test_embeddings_wait_on_the_cpu_in_the_runs_dtype(folders):
    made = of_run(folders["t5"], **LOW)
    made.remember(["a"])
    tensors = [tensor for one in made._embedded._kept.values() for tensor in one.values()]
    assert {(one.device.type, one.dtype) for one in tensors} == {("cpu", torch.bfloat16)}


def test_a_policy_that_nobody_holds_is_gone(folders):
    made = of_run(folders["sd"])
    made.encode([PromptLine("", "a")])
    gone = weakref.ref(made)
    del made
    assert gone() is None


# Nothing waits for the device.


@pytest.mark.parametrize("rule", ["ddim", "dance", "flow", "cps"])
def test_a_step_and_its_log_probability_do_not_wait_for_the_device(rule):
    v, x = (torch.zeros(2, 4, 8, 8, device=META) for _ in range(2))
    now, then = torch.tensor([0.5, 0.6], device=META), torch.tensor([0.4, 0.5], device=META)
    step = {
        "ddim": lambda: ddim(v, x, then, now, eta=1.0),
        "dance": lambda: dance(v, x, now, then, eta=0.3),
        "flow": lambda: flow(v, x, now, then, noise_level=0.7, sigma_max=0.9),
        "cps": lambda: cps(v, x, now, then, noise_level=0.8),
    }[rule]()
    assert log_prob(step.draw(x), step.mean, step.std).shape == (2,)
    assert log_prob(x, x, math.sqrt(0.5)).device == META
