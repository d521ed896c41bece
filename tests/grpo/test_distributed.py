"""A run on several processes is the run of one: each case is computed on one, two or three."""

import contextlib
import os
import signal
import sys
import time
from types import MethodType

import numpy as np
import pytest
import tiny_policies
import tiny_runs
import torch
from forked import FSDP, ended, together
from torch.distributed.tensor import DTensor

import grpo.sharding
import grpo.trainer
from grpo import checkpoint, policies
from grpo.advantage import Advantages
from grpo.distributed import World
from grpo.figures import Figures
from grpo.objectives.objective import Term
from grpo.rewards import Rewards
from grpo.run import Run
from grpo.sharding import local, whole
from grpo.train import Stopped, train
from grpo.trainer import Trainer
from rewardkit.errors import RewardKitError, UsageError
from rewardkit.media.prompts import read

KINDS = {
    "policy-gradient": ("sd", tiny_runs.GRADIENT),
    "forward-process": ("sd3", tiny_runs.FORWARD),
    "group-preference": ("sd3", tiny_runs.PREFERENCE | {"clip_range": 0.1}),
    "centered-reward": ("sd3", tiny_runs.CENTERED),
    "distillation": ("sd3", tiny_runs.DISTILLATION),
}
WAYS = {"whole": {}, "fsdp": FSDP}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


def config(folders, kind="policy-gradient", parameters="lora", *, sampler=None, **sections):
    """Averaged weights and a penalty, so that all banks are used; batches of 2 of 6 samples."""
    name, objective = KINDS[kind]
    sections = {"policy": {"parameters": parameters, "ema": 0.9, "rank": 2, "alpha": 4}} | sections
    own = {"kl": 0.01} | sections.pop("objective", {})
    return tiny_runs.config(
        folders[name],
        objective=objective | own,
        sampler={"batch_size": 2} | (sampler or {}),
        **sections,
    )


def trainer(asked, world):
    policy = policies.of(policies.load(asked), asked, world.device("cpu"), world)
    return Trainer(asked, policy, Rewards(asked.reward, "cpu", asked.scoring), read(asked.prompts))


def observed(asked, steps=1, sgd=None):
    """What a process makes of a run's first steps: media, advantages, gradients, weights."""
    with World.of_environment() as world, contextlib.ExitStack() as restored:
        made = trainer(asked, world)
        if sgd is not None:
            made.optimizer.adamw = torch.optim.SGD(made.optimizer.parameters, lr=sgd)
        seen = {"gradients": [], "media": [], "figures": [], "advantages": []}

        def draw(*args, real=grpo.trainer.collect):
            rollout = real(*args)
            everywhere = rollout.whole()
            clean, logs = everywhere.clean.clone(), everywhere.transitions.log_prob.clone()
            seen["media"].append([*everywhere.media, clean, logs.nan_to_num()])
            return rollout

        def update(real=made.optimizer.update):
            parameters = made.policy.parameters().items()
            seen["gradients"].append(copied(whole({name: p.grad for name, p in parameters})))
            return real()

        def credit(rollout, scores, real=made.objective.credit):
            advantages = real(rollout, scores)
            seen["advantages"].append([advantages.values, *scores.values()])
            return advantages

        grpo.trainer.collect, before = draw, grpo.trainer.collect
        restored.callback(setattr, grpo.trainer, "collect", before)
        made.optimizer.update, made.objective.credit = update, credit
        seen["figures"] = [made.step(index).values for index in range(steps)]
        return seen | {"weights": copied(whole(made.state()["parameters"]))}


def copied(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def distance(ours, theirs):
    """Of two dictionaries of tensors, relative to the second."""
    ours, theirs = (torch.cat([t.flatten() for t in each.values()]) for each in (ours, theirs))
    return float((ours - theirs).norm() / theirs.norm())


def equal(ours, theirs):
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def compare(asked, size, way, steps=1, sgd=None):
    """A first step on `size` processes against that on one, and how far all weights differ."""
    (one,) = together(1, lambda: observed(asked, steps, sgd))
    distances = []
    for ours in together(size, lambda: observed(asked, steps, sgd), 300, **WAYS[way]):
        distances.append(distance(ours["weights"], one["weights"]))
        assert equal(ours["media"][0], one["media"][0])
        assert equal(ours["advantages"][0], one["advantages"][0])
        assert distance(ours["gradients"][0], one["gradients"][0]) <= 1e-5
        assert ours["figures"][0].keys() == one["figures"][0].keys()
        for name, value in one["figures"][0].items():
            assert ours["figures"][0][name] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    return max(distances)


QUICK = [("policy-gradient", "lora", "whole"), ("forward-process", "full", "fsdp")]
# Losses that depend on samples of other processes, and teachers that differ within a batch.
OTHERS = [
    ("group-preference", "lora", "whole"),
    ("centered-reward", "full", "fsdp"),
    ("distillation", "lora", "fsdp"),
]
SLOW = [pytest.param(*choice, marks=pytest.mark.slow) for choice in OTHERS]


@pytest.mark.parametrize(("kind", "parameters", "way"), [*QUICK, *SLOW])
def test_the_first_step_of_two_processes_is_that_of_one(folders, kind, parameters, way):
    # Five batches: the second process has one less.
    compare(config(folders, kind, parameters, sampler={"group_size": 5}), 2, way)


def rows_as_losses(self, samples, keys):
    """The loss of a sample is its row times one weight, so that gradients are known."""
    parameter = next(iter(self.policy.parameters().values()))
    for share in (0.25, 0.75):
        loss = (samples.rows * parameter.flatten()[0]).mean()
        yield Term(loss, share, {"row": samples.rows.float().mean()})


@pytest.mark.parametrize("size", [2, 3])
def test_unequal_shares_lose_no_sample_and_weigh_none_twice(folders, size):
    sampler = {"prompts_per_step": 5, "group_size": 3, "batch_size": 2}
    asked = config(folders, sampler=sampler, objective={"updates": 1, "kl": 0})

    def work():
        gradients, figures = [], Figures()
        with World.of_environment() as world:
            made = trainer(asked, world)
            made.objective.terms = MethodType(rows_as_losses, made.objective)
            made.objective.before_updates = lambda probes, batches: {}

            def update():
                first = next(iter(made.policy.parameters().values()))
                gradients.append(float(first.grad.flatten()[0]))
                made.optimizer.adamw.zero_grad()
                return {}

            made.optimizer.update = update
            drawn = grpo.trainer.collect(
                made.policy, made.sampler, made.choose(0), asked.sampler,
                made.objective.plan(5, np.random.default_rng(0)), (0, 0),
            )  # fmt: skip
            for values in ([1.0] * 15, [1.0] * 9 + [0.0] * 6):
                advantages = torch.tensor(values).view(5, 3)
                made.update(0, drawn, {}, Advantages(advantages, {}, advantages.any(1)), figures)
        return gradients, figures.values["row"]

    for gradients, row in together(size, work):
        # Rows 0 to 14, then rows 0 to 8 of three groups with a gradient.
        assert gradients == pytest.approx([7.0, 4.0], rel=1e-6)
        assert row == pytest.approx(4.0)


def run_config(folders, kind="policy-gradient", **sections):
    """A run with all that has a state, and checkpoints after every step."""
    prompts = folders["sd"].parent / "prompts.txt"
    return config(
        folders,
        kind,
        **{
            "evaluation": {"prompts": str(prompts), "samples": 3, "every": 2, "steps": 1},
            "checkpoint": {"every": 1},
            **sections,
        },
    )


def trained(asked, out, resume=False):
    """What a run leaves, by the first process's word; the others have the same in memory."""
    run = train(asked, out=out, resume=resume, device="cpu")
    return tiny_runs.lines(run), tiny_runs.outcome(run)


@pytest.mark.parametrize(
    ("before", "after", "way"),
    [
        pytest.param(2, 1, "whole", marks=pytest.mark.slow),
        pytest.param(2, 1, "fsdp", marks=pytest.mark.slow),
        pytest.param(2, 2, "fsdp", marks=pytest.mark.slow),
        pytest.param(2, 3, "fsdp", marks=pytest.mark.slow),
        pytest.param(1, 2, "fsdp", marks=pytest.mark.slow),
        pytest.param(2, 3, "whole", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "kind", ["policy-gradient", pytest.param("forward-process", marks=pytest.mark.slow)]
)
def test_a_run_goes_on_with_another_number_of_processes(
    folders, tmp_path, kind, before, after, way
):
    """The process that is killed takes the others with it; the last checkpoint is whole."""
    asked = run_config(folders, kind, top={"steps": 2})
    (whole_run,) = together(1, lambda: trained(asked, tmp_path / "whole"))

    def killed():
        real = Trainer.update

        def update(self, index, *rest):
            if index == 1 and os.environ["RANK"] == str(before - 1):
                os.kill(os.getpid(), signal.SIGKILL)
            real(self, index, *rest)

        Trainer.update = update
        trained(asked, tmp_path / "out")

    exits, _ = ended(before, killed, **WAYS[way])
    assert exits[-1] == -signal.SIGKILL and set(exits[:-1]) <= {1}
    assert Run(tmp_path / "out").latest()["step"] == 1
    ways = WAYS[way] if after > 1 else {}
    for lines, outcome in together(after, lambda: trained(asked, tmp_path / "out", True), **ways):
        assert [line["step"] for line in lines] == [line["step"] for line in whole_run[0]]
        assert outcome.keys() == whole_run[1].keys()
        for name, value in whole_run[1].items():
            torch.testing.assert_close(outcome[name], value, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_shares_written_one_by_one_are_the_file_of_the_gathered_state(folders, tmp_path, size):
    """The file is that of one process, and so is what another number of processes reads of it."""
    asked = config(folders, "forward-process", "full")

    def written():
        with World.of_environment() as world:
            made = trainer(asked, world)
            made.step(0)
            checkpoint.save(tmp_path, 1, made.state(), 1, world)
            return dict(tiny_runs.flat(whole(made.state()), ""))

    gathered = together(size, written, **FSDP)
    (path,) = checkpoint.paths(tmp_path)
    assert not [other for other in tmp_path.iterdir() if other != path]
    state = dict(tiny_runs.flat(checkpoint.load(path), ""))
    assert state.pop("/step") == 1
    for theirs in gathered:
        assert tiny_runs.same(state, theirs)

    def read():
        with World.of_environment() as world:
            made = trainer(asked, world)
            saved = checkpoint.load(path, mapped=world.lockstep)
            checkpoint.check(path, saved, made.state())
            made.restore(saved)
            moments = made.optimizer.adamw.state.values()
            held = [local(m["exp_avg"]) for m in moments]
            assert all(t.untyped_storage().nbytes() == t.nbytes for t in held)
            return dict(tiny_runs.flat(whole(made.state()), ""))

    for other in {1, 5 - size}:
        for theirs in together(other, read, **(FSDP if other > 1 else {})):
            assert tiny_runs.same(state, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("dying", [0, 1])
def test_a_process_killed_while_shares_are_written_leaves_the_last_checkpoint(
    folders, tmp_path, dying
):
    asked = run_config(folders, "forward-process", policy={"parameters": "full"}, top={"steps": 2})
    whole_run, _ = together(2, lambda: trained(asked, tmp_path / "whole"), **FSDP)

    def killed():
        real, copies = DTensor.to_local, iter(range(10**6))

        def fill(path, state, first, fill=grpo.sharding.fill):
            def to_local(tensor):
                if state["step"] == 2 and os.environ["RANK"] == str(dying) and next(copies) == 9:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(tensor)

            DTensor.to_local = to_local
            fill(path, state, first)

        grpo.sharding.fill = fill
        trained(asked, tmp_path / "out")

    exits, said = ended(2, killed, **FSDP)
    assert exits[dying] == -signal.SIGKILL and exits[1 - dying] == 1
    assert said[1 - dying] is None or "another process of the run has ended" in said[1 - dying]
    assert Run(tmp_path / "out").latest()["step"] == 1
    for lines, outcome in together(2, lambda: trained(asked, tmp_path / "out", True), **FSDP):
        assert lines == whole_run[0]
        assert tiny_runs.same(outcome, whole_run[1])
    assert [path.name for path in sorted((tmp_path / "out" / "checkpoints").iterdir())] == [
        "step-000001.pt",
        "step-000002.pt",
    ]


FAILING = """
import os
calls = []
def score(batch):
    calls.append(0)
    if os.environ.get("RANK") == "1" and len(calls) > 2:
        raise ValueError("the camera is broken")
    return [float(medium.float().std()) for medium in batch.media]
"""


@pytest.mark.parametrize("way", ["whole", pytest.param("fsdp", marks=pytest.mark.slow)])
def test_a_failure_of_one_process_ends_all_with_its_message(folders, tmp_path, way):
    judge = tmp_path / "judge.py"
    judge.write_text(FAILING, "utf-8")
    asked = config(folders, top={"reward": f"{judge}:score"}, checkpoint={"every": 1},
                   scoring={"batch_size": 3})  # fmt: skip
    out = tmp_path / "out"

    def work():
        rank = os.environ["RANK"]
        with (tmp_path / f"stderr-{rank}").open("w") as stream:
            os.dup2(stream.fileno(), 2)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        seen = []
        real = Run.save
        Run.save = lambda *args: (real(*args), seen.append(time.monotonic()))
        try:
            train(asked, out=out, device="cpu")
        except RewardKitError as error:
            print(f"Error: {error}", file=sys.stderr, flush=True)
            return seen[-1]

    exits, results = ended(2, work, **WAYS[way])
    assert exits == [1, 0]  # process 1 has printed its error and returned
    printed = "".join((tmp_path / f"stderr-{rank}").read_text() for rank in range(2))
    assert printed.count("Error: sample") == 1 and "the camera is broken" in printed
    assert time.monotonic() - results[1] < 10
    assert [path.name for path in checkpoint.paths(Run(out).checkpoints)] == [
        "step-000001.pt",
        "step-000002.pt",
    ]
    assert Run(out).latest()["step"] == 2


@pytest.mark.slow
def test_a_process_that_does_not_listen_is_ended_too(folders, tmp_path):
    """One that computes, or waits in a collective that never ends."""

    def work():
        with World.of_environment() as world:
            if not world.first:
                raise RewardKitError("out of paper")
            time.sleep(100)

    began = time.monotonic()
    assert ended(2, work)[0] == [1, 1]
    assert time.monotonic() - began < 10


def test_a_signal_to_one_process_stops_all_after_the_step(folders, tmp_path):
    asked = run_config(folders)

    def work():
        real = Trainer.update

        def update(self, index, *rest):
            if os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGTERM)
            real(self, index, *rest)

        Trainer.update = update
        try:
            train(asked, out=tmp_path, device="cpu")
        except Stopped:
            return Run(tmp_path).latest()["step"]

    assert together(2, work) == [1, 1]
    assert (Run(tmp_path).model / "rewardkit.json").exists()


REFUSED = {
    "a device for all": ({"scoring": {"device": "cuda:1"}}, {}, "scoring.device is 'cuda:1'"),
    "another precision": ({}, {"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision is bf16"),
    "scaled gradients": ({"policy": {"dtype": "float16"}}, FSDP, "dtype is float16"),
    "FSDP 1": ({}, {"ACCELERATE_USE_FSDP": "true"}, "FSDP version 1"),
    "DeepSpeed": ({}, {"ACCELERATE_USE_DEEPSPEED": "true"}, "configured for DeepSpeed"),
    "offloading": ({}, {**FSDP, "FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_work_is_refused_before_anything_is_loaded(folders, tmp_path, case):
    sections, environment, message = REFUSED[case]
    asked = config(folders, top={"model": "nowhere"}, **sections)

    def work():
        try:
            train(asked, out=tmp_path / "out", device="cpu")
        except UsageError as error:
            return str(error)

    exits, results = ended(2, work, **environment)
    said = [result for status, result in zip(exits, results, strict=True) if not status]
    assert sorted(exits) == [0, 1] and message in said[0]


# Every two of these choices occur together; all sixteen take ten minutes.
CHOICES = [
    ("shapes-flow", "policy-gradient", "lora", "whole"),
    ("shapes-flow", "forward-process", "full", "fsdp"),
    ("shapes-sd", "policy-gradient", "full", "whole"),
    ("shapes-sd", "forward-process", "lora", "fsdp"),
    ("shapes-flow", "policy-gradient", "full", "fsdp"),
    ("shapes-sd", "forward-process", "full", "whole"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "kind", "parameters", "way"), CHOICES)
def test_five_steps_of_two_processes_are_those_of_one(tmp_path, model, kind, parameters, way):
    flow = model == "shapes-flow"
    forward = kind == "forward-process"
    rule = ("ode" if forward else "flow") if flow else "ddim"
    level = 0.0 if forward else 0.7 if flow else 1.0
    asked = tiny_runs.config(
        tmp_path / ("sd3" if flow else "sd"),
        objective=KINDS[kind][1] | {"kl": 0.01},
        policy={"parameters": parameters, "ema": 0.9, "rank": 2, "alpha": 4},
        top={"model": model, "reward": "sharpness"},
        scoring={"batch_size": 4},
    )
    sampler = {
        **{"rule": rule, "noise_level": level, "steps": 3, "guidance": 3.0},
        **{"prompts_per_step": 5, "group_size": 3, "batch_size": 2, "height": 32, "width": 32},
    }
    asked = type(asked).model_validate(asked.model_dump() | {"sampler": sampler})
    sgd = compare(asked, 2, way, steps=5, sgd=1e-2)
    assert sgd <= 1e-6
    adamw = compare(asked, 2, way, steps=5)
    print(f"{model} {kind} {parameters} {way}: weights differ by {sgd:.1e}, AdamW {adamw:.1e}")
    assert adamw <= 1e-2
