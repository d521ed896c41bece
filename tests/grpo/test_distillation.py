"""Several teachers, each for its share of prompts: which steps they teach, and what is refused."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch
from golden.calls import load
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from grpo import policies, preview
from grpo.loss import divergence
from grpo.objectives import distillation
from grpo.objectives.transitions import replay
from grpo.places import anchored
from grpo.rollout import collect
from grpo.teachers import teacher_values
from grpo.train import train
from rewardkit.errors import InputError, UsageError, WeightsError
from rewardkit.generators import pipelines
from rewardkit.media.prompts import PromptLine
from rewardkit.records.provenance import sha256_file

DIRECT = tiny_runs.DISTILLATION | {"form": "direct"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def config(folders, objective=DIRECT, **changes):
    return tiny_runs.config(folders["sd3"], objective=objective, **changes)


@pytest.mark.parametrize(
    "call", load("flow-factory", "scripts/train_sd3_opd_mix.py: main, kl_reward")
)
def test_the_distance_to_a_teacher_is_flow_opds(call):
    given = {name: torch.tensor(value) for name, value in call.arguments.items()}
    mean = given["mean"].requires_grad_()
    found = divergence(mean, given["mean_teacher"], given["std"])
    (gradient,) = torch.autograd.grad(found.sum(), mean)
    torch.testing.assert_close(found.detach(), torch.tensor(call.results["kl"]))
    torch.testing.assert_close(gradient, torch.tensor(call.results["gradient"]))


def test_a_student_runs_under_a_teacher_of_lower_rank_another_scale_and_fewer_layers(folders):
    layers = ["to_q", "to_out.0"]
    lora = tiny_runs.teacher(folders["sd3"], "few", rank=2, targets=layers)
    student = policies.of(
        pipelines.load(folders["sd3"], device="cpu"),
        tiny_runs.config(folders["sd3"], policy={"rank": 3, "alpha": 2}),
    )
    student.keep("teacher")
    student.banks["teacher"].restore(teacher_values(student, "few", str(lora)))
    pipeline = pipelines.load(folders["sd3"], device="cpu")
    pipeline.diffusers.load_lora_weights(lora)
    x, timesteps, condition = tiny_policies.inputs(student)
    with student.using("teacher"):
        ours = student.predict(x, timesteps, condition)
    with torch.no_grad():
        theirs = pipeline.diffusers.transformer(
            x, timestep=timesteps, return_dict=False, **condition.arguments()
        )[0]
    assert not torch.allclose(ours, student.predict(x, timesteps, condition), atol=1e-3)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_prompt_is_taught_by_its_own_teacher_whatever_its_reward(folders, tmp_path):
    judge = tmp_path / "judge.py"
    judge.write_text("def score(batch):\n    return [0.1] * len(batch.media)\n")
    sampler = {"batch_size": 6, "prompts_per_step": 3, "group_size": 2}
    changes = {"top": {"reward": f"{judge}:score"}, "optim": {"lr": 1e-2}, "sampler": sampler}
    trainer = tiny_runs.trainer(config(folders, DIRECT | {"updates": 1}, **changes))
    objective, policy = trainer.objective, trainer.policy
    real, seen = objective.terms, []

    def terms(samples, keys):
        taught = objective._taught(samples, 0)
        tags = [samples.rollout.lines[n].meta["tag"] for n in samples.rollout.owner[samples.rows]]
        for name in ("one", "two"):
            mine = torch.tensor([tag == name for tag in tags])
            with policy.using(f"teacher {name}"):
                mean = replay(policy, trainer.sampler, samples, 0).step.mean
            assert mine.any() and torch.equal(taught[mine], mean[mine])
            assert not torch.allclose(taught[~mine], mean[~mine])
        seen.append(tags)
        yield from real(samples, keys)

    objective.terms = terms
    first = trainer.step(0).values
    assert first["groups_dropped"] == 0 and len(seen) == 1
    objective.terms = real
    assert [trainer.step(i).values for i in range(1, 4)][-1]["teacher_kl"] < first["teacher_kl"]


def test_a_student_that_is_its_teacher_has_nothing_to_learn(folders):
    lora = str(tiny_runs.teacher(folders["sd3"], "one", rank=2))
    only = DIRECT | {"teachers": {"only": lora}}
    trainer = tiny_runs.trainer(config(folders, only, policy={"rank": 2, "alpha": 6}))
    for name, value in trainer.policy.banks["teacher only"].values.items():
        trainer.policy.parameters()[name].data.copy_(value)
    assert trainer.step(0).values["teacher_kl"] == 0


def test_the_advantage_of_a_step_is_minus_its_kl(folders):
    trainer = tiny_runs.trainer(config(folders, tiny_runs.DISTILLATION | {"updates": 1}))
    values = trainer.step(0).values
    # Every ratio is 1 before the first update, so that the loss is minus the mean advantage.
    assert values["loss"] == pytest.approx(values["teacher_kl"], rel=1e-4)
    assert values["teacher_kl"] < 5 and values["ratio"] == pytest.approx(1, abs=1e-5)


def test_the_default_form_leads_the_student_to_its_teachers(folders, monkeypatch):
    """What its gradient has beside the noise of drawn steps is that of the KL, which it lowers."""
    trainer = tiny_runs.trainer(config(folders, tiny_runs.DISTILLATION))
    objective, parameters = trainer.objective, [*trainer.policy.parameters().values()]
    plan, sampler = objective.plan(2, np.random.default_rng(0)), trainer.config.sampler
    drawn = collect(trainer.policy, trainer.sampler, trainer.choose(0), sampler, plan, (0, 0))
    samples = trainer.samples(drawn, torch.arange(6), {}, torch.zeros(6))

    def gradient(form):
        objective.settings = objective.settings.model_copy(update={"form": form})
        total, gaps = [torch.zeros_like(p) for p in parameters], []
        for term in objective.terms(samples, (0,)):
            gaps.append(float(term.figures["teacher_kl"]))
            parts = torch.autograd.grad(term.share * term.loss, parameters)
            total = [a + b for a, b in zip(total, parts, strict=True)]
        return total, sum(gaps)

    def without_the_noise(*arguments):
        found = replay(*arguments)
        return replace(found, log_prob=found.log_prob.detach())

    monkeypatch.setattr(distillation, "replay", without_the_noise)
    (ours, before), (direct, _) = gradient("advantage"), gradient("direct")
    torch.testing.assert_close(ours, direct)
    monkeypatch.setattr(distillation, "replay", replay)
    for parameter, slope in zip(parameters, gradient("advantage")[0], strict=True):
        parameter.data -= 1e-3 * slope
    assert gradient("direct")[1] < before


def test_a_card_names_the_teachers_and_their_rewards(folders, tmp_path):
    """What is only watched is not among them; a teacher that changes meanwhile is refused."""
    paths = {}
    for name in ("one", "two"):
        paths[name] = str(shutil.copytree(tiny_runs.teacher(folders["sd3"], name), tmp_path / name))
    earlier = {"reward": "0.5*hps.v2.1+sharpness@0.3"}
    (tmp_path / "one/rewardkit.json").write_text(json.dumps({"trained_on": earlier}), "utf-8")
    asked = config(
        folders, DIRECT | {"teachers": paths}, top={"reward": "colorfulness", "steps": 1}
    )
    run = train(asked, out=tmp_path / "run", device="cpu")
    trained_on = json.loads((run.model / "rewardkit.json").read_text("utf-8"))["trained_on"]
    assert trained_on["reward"] == "hps.v2.1+sharpness" and "weights" in trained_on
    file = tmp_path / "one/pytorch_lora_weights.safetensors"
    assert trained_on["teachers"]["one"] == {
        "source": str(file), "sha256": sha256_file(file), "trained_on": earlier,
    }  # fmt: skip
    assert trained_on["teachers"]["two"]["trained_on"] is None
    save_file({key: 2 * value for key, value in load_file(file).items()}, file)
    longer = asked.model_copy(update={"steps": 2})
    with pytest.raises(InputError, match=r"the teacher one, .* has changed since the run began"):
        train(longer, out=run.folder, resume=True, device="cpu")


def test_a_prompt_without_a_teacher_is_named(folders):
    settings = config(folders).objective
    settings.check_lines([PromptLine("p:1", "a ring", {"tag": "one"})])
    with pytest.raises(InputError, match=r"p:2: tag names .* tag is 'six'; the teachers are one"):
        settings.check_lines([PromptLine("p:2", "a ring", {"tag": "six"})])
    with pytest.raises(InputError, match=r"p:3: .* it has no such key"):
        settings.check_lines([PromptLine("p:3", "a ring")])
    with pytest.raises(InputError, match=r"p:4: .* tag is \['one'\]"):
        settings.check_lines([PromptLine("p:4", "a ring", {"tag": ["one"]})])
    alone = settings.model_copy(update={"teachers": {"only": "x"}})
    alone.check_lines([PromptLine("p:3", "a ring")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": {"parameters": "full"}}, "policy.parameters is full. Set it to lora"),
        ({"sampler": {"rule": "ode", "noise_level": 0}}, "Use a noise_level above 0"),
        ({"advantage": {"best": 2}}, "advantage.best chooses samples"),
        ({"sampler": {"steps": 1}}, "none is trained on"),
    ],
)
def test_what_cannot_be_distilled_is_refused(folders, changes, message):
    with pytest.raises(ValidationError, match=message):
        config(folders, **changes)


def test_a_teacher_that_does_not_fit_the_student_is_refused(folders, tmp_path):
    student = tiny_policies.policy(folders["sd3"])  # of rank 2
    higher = tiny_runs.teacher(folders["sd3"], "one", rank=3)
    with pytest.raises(UsageError, match=r"teacher x, .* has rank 3, .* rank 2. Set policy.rank"):
        teacher_values(student, "x", str(higher))
    narrow = tiny_policies.policy(folders["sd3"], policy={"targets": ["to_q"]})
    with pytest.raises(UsageError, match=r"on \d+ layers on which the LoRA in training is not"):
        teacher_values(narrow, "x", str(tiny_runs.teacher(folders["sd3"], "one")))
    other = tiny_policies.policy(folders["sd"])
    with pytest.raises((UsageError, WeightsError), match="layers of the teachers, if they are of"):
        teacher_values(other, "x", str(tiny_runs.teacher(folders["sd3"], "one")))
    with pytest.raises(WeightsError, match="holds no LoRA"):
        teacher_values(student, "x", str(tmp_path))
    file = tiny_runs.teacher(folders["sd3"], "one") / "pytorch_lora_weights.safetensors"
    scaled = {"lora_adapter_metadata": json.dumps({"transformer.use_rslora": True})}
    save_file(load_file(file), tmp_path / file.name, metadata=scaled)
    with pytest.raises(WeightsError, match="has use_rslora True; a teacher has one rank"):
        teacher_values(student, "x", str(tmp_path))
    missing = config(folders, DIRECT | {"teachers": {"x": str(tmp_path / "none")}})
    with pytest.raises(UsageError, match=r"no LoRA of the teacher x at .*none"):
        preview.check(missing, preview.Model("some/model", None, None))


def test_paths_of_teachers_do_not_depend_on_the_working_folder(folders, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/a").mkdir(parents=True)
    given = config(folders, DIRECT | {"teachers": {"a": "runs/a", "b": "/b"}})
    expected = {"a": str(tmp_path / "runs/a"), "b": "/b"}
    assert anchored(given).objective.teachers == expected
