"""An objective in one file, with a trained module of its own and a history of rewards."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import tiny_policies
import tiny_runs
import torch
from click.testing import CliRunner
from pydantic import Field
from torch import Tensor, nn

from grpo import checkpoint, memory, objectives
from grpo.advantage import Advantages
from grpo.cli import main
from grpo.config.fields import CREDIT, Config, ObjectiveConfig
from grpo.config.resolve import resolve
from grpo.config.sampler import SamplerConfig
from grpo.config.settings import fields
from grpo.objectives.objective import Objective, Samples, Term
from grpo.rollout import Plan, Rollout, collect
from grpo.run import Run
from grpo.sde import log_prob
from grpo.testing import check_objective
from grpo.train import train
from grpo.trainer import Trainer
from rewardkit import plugins
from rewardkit.errors import InputError, RewardKitError, UsageError
from rewardkit.media.prompts import PromptLine


class CriticConfig(ObjectiveConfig):
    """A policy gradient whose baseline is learned."""

    value_lr: float = Field(default=1e-2, gt=0, le=1)
    """Learning rate of the value network."""

    def check(self, config: Config) -> None:
        if config.sampler.noise != "sample":
            raise ValueError("a critic needs sampler.noise=sample")

    def unread(self, config: Config) -> dict[str, str]:
        ignored = (*CREDIT, "advantage.clamp")
        return dict.fromkeys(ignored, "a value network gives the advantages")

    def steps_trained(self, sampler: SamplerConfig) -> int:
        return 1

    def steps_stored(self, sampler: SamplerConfig) -> int:
        return 2


class Critic(Objective[CriticConfig]):
    """A policy gradient whose advantage of a step is what a value network did not expect there.

    It expects what its prompt's past rewards leave open, by the sample that the step starts from.
    """

    config_class = CriticConfig
    credit_reads_samples = True

    def __init__(self, policy, sampler, config, rewards):
        super().__init__(policy, sampler, config, rewards)
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            size = math.prod(policy.noise([torch.Generator()]).shape)
            value = nn.Sequential(nn.Flatten(), nn.Linear(size, 4), nn.BatchNorm1d(4))
            self.value = nn.Sequential(value, nn.Linear(4, 1), nn.Flatten(0))
        self.value[1].bias.requires_grad_(False)  # it never has a gradient, nor moments
        self.history: dict[str, list[float]] = {}

    def modules(self) -> Mapping[str, nn.Module]:
        return {"value": self.value}

    def learning_rate(self) -> float:
        return self.settings.value_lr

    def plan(self, groups, rng) -> Plan:
        # The first step is random and has a log-probability; the second is not, and has none.
        return Plan(frozenset({0}), torch.tensor([[0, 1]] * groups))

    def credit(self, rollout: Rollout, scores: Mapping[str, Tensor]) -> Advantages:
        for line, rewards in zip(rollout.lines, scores["sharpness"].tolist(), strict=True):
            self.history.setdefault(line.prompt, []).extend(rewards)
        targets = self.targets(rollout, torch.arange(len(rollout.owner)), scores["sharpness"])
        with torch.no_grad():
            expected = [self.value(x) for x in rollout.transitions.x.unbind(1)]
        grouped = rollout.grouped(targets[:, None] - torch.stack(expected, dim=1))
        return Advantages(grouped, dict(scores), grouped.flatten(1).any(dim=1))

    def targets(self, rollout: Rollout, rows: Tensor, rewards: Tensor) -> Tensor:
        """What is left of some samples' rewards beside the past of their prompts."""
        pasts = [self.history[line.prompt] for line in rollout.lines]
        means = torch.tensor([sum(past) / len(past) for past in pasts])
        return (rewards.flatten() - means[rollout.owner[rows]]) / 1000

    def terms(self, samples: Samples, keys: tuple[int, ...]):
        past = samples.rollout.transitions
        targets = self.targets(samples.rollout, samples.rows, samples.scores["sharpness"])
        for k in range(2):
            x, x_next = past.step(samples.rows, k, self.policy.device)
            gap = self.value(x) - targets
            loss = gap.square().mean()
            if k == 0:  # the only random step
                index = past.index[samples.rows, k]
                output = self.policy.predict(x, self.sampler.timesteps[index], samples.condition)
                step = self.sampler.step(output, x, index)
                likelihood = log_prob(x_next, step.mean, step.std)
                loss = loss - (likelihood * samples.advantage_at(k)).mean()
            yield Term(loss, 1 / 2, {"value_gap": gap.abs().mean().detach()})

    def state(self):
        return {**super().state(), "history": self.history}

    def restore(self, state):
        super().restore(state)
        self.history = {prompt: [*values] for prompt, values in state["history"].items()}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_policies.saved(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """The objective as the plug-in of another distribution."""
    entry = EntryPoint("critic", f"{__name__}:Critic", objectives.ENTRY_POINT_GROUP)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry] * (group == entry.group))
    objectives._plugins.cache_clear()
    yield
    objectives._plugins.cache_clear()


def config(folders, *, objective=None, **changes):
    return tiny_runs.config(
        folders["sd3"],
        objective={"kind": "critic", "updates": 2, **(objective or {})},
        **({"top": {"steps": 2}, "checkpoint": {"every": 1}} | changes),
    )


def test_a_dry_run_counts_the_networks_of_an_objective(folders):
    asked, folder = config(folders), folders["sd3"]
    estimate = memory.of_folder(asked, str(folder), folder, "cpu", PromptLine("", "a"))
    (value,) = tiny_runs.trainer(asked).modules.values()
    tensors = [*value.parameters(), *value.buffers()]
    assert estimate.held["networks of the objective"] == sum(tensor.nbytes for tensor in tensors)
    moved = sum(p.nbytes for p in value.parameters() if p.requires_grad)
    assert estimate.held["their gradients and optimizer"] == 3 * moved > 0
    assert not estimate.unknown
    plain = tiny_runs.config(folder)
    without = memory.of_folder(plain, str(folder), folder, "cpu", PromptLine("", "a"))
    assert "networks of the objective" not in without.held


class Killed(BaseException):
    """Ends a process's work where it is raised, as SIGKILL would."""


def test_it_trains_and_resumes_bit_for_bit(folders, tmp_path, monkeypatch):
    run_config = config(folders, top={"steps": 2, "method": "flow-grpo"})
    whole = train(run_config, out=tmp_path / "whole", device="cpu")
    real = Trainer.update

    def update(self, index, *arguments):
        if index == 1:
            raise Killed
        real(self, index, *arguments)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Trainer, "update", update)
        train(run_config, out=tmp_path / "killed", device="cpu")
    resumed = train(run_config, out=tmp_path / "killed", resume=True, device="cpu")
    assert tiny_runs.lines(resumed) == tiny_runs.lines(whole)
    assert tiny_runs.same(tiny_runs.outcome(resumed), tiny_runs.outcome(whole))
    state = whole.latest()
    assert sorted(len(past) for past in state["objective"]["history"].values()) == [3, 3, 6]
    saved = state["modules"]["value"]
    assert saved["buffers"]["0.2.num_batches_tracked"] > 0
    (line, _) = tiny_runs.lines(whole)
    assert line["grad_norm/value"] > 0 and line["value_gap"] > 0
    # The card names the objective that ran, which is not the method's.
    card = json.loads((whole.model / "rewardkit.json").read_text("utf-8"))
    assert card["method"] == "flow-grpo with objective.kind=critic"
    assert card["objective"] == {"kind": "critic", "updates": 2, "epochs": 1, "value_lr": 0.01}
    assert card["advantage"]["clamp"] == 5


def test_it_keeps_the_contract(folders, tmp_path):
    check_objective(config(folders), tmp_path)


def test_its_module_has_its_own_learning_rate_and_clipping(folders):
    trainer = tiny_runs.trainer(config(folders, optim={"lr": 1e-3, "decay": "linear"}))
    policy = {name: p.detach().clone() for name, p in trainer.policy.parameters().items()}
    value = {name: p.detach().clone() for name, p in trainer.objective.value.named_parameters()}
    trainer.step(1)  # of two: half of the highest rate
    assert [group["lr"] for group in trainer.optimizer.adamw.param_groups] == [5e-4, 5e-3]

    def largest(before, after):
        return max(float((after[name] - old).detach().abs().max()) for name, old in before.items())

    # AdamW's first two updates move a weight by about the rate each.
    moved = largest(value, dict(trainer.objective.value.named_parameters()))
    assert 5e-3 < moved < 2.5e-2
    assert largest(policy, trainer.policy.parameters()) < 2.5e-3


def test_a_module_that_diverges_is_named(folders):
    trainer = tiny_runs.trainer(config(folders))
    with torch.no_grad():
        trainer.objective.value[1].weight.fill_(float("inf"))
    with pytest.raises(RewardKitError, match=r"'value', a module.*rate for it than 0\.01") as error:
        trainer.step(0)
    assert "use a lower optim.lr" not in str(error.value).casefold()


def test_its_credit_needs_no_group(folders):
    run_config = config(folders, objective={"updates": 1}, sampler={"group_size": 1})
    trainer = tiny_runs.trainer(run_config)
    trainer.objective.history = {line.prompt: [0.0] for line in trainer.prompts}
    values = trainer.step(0).values
    assert values["grad_norm"] > 0 and values["groups_dropped"] == 0
    assert "reward/sharpness" in values and "reward_std/sharpness" not in values


def test_a_checkpoint_must_fit_its_module(folders, tmp_path):
    trainer = tiny_runs.trainer(config(folders))
    like = tiny_runs.trainer(config(folders)).state()
    trainer.step(0)
    path = checkpoint.save(tmp_path, 1, trainer.state(), keep=1)
    checkpoint.check(path, checkpoint.load(path), like)
    for change, what in [
        (lambda s: s["modules"]["value"]["parameters"].pop("1.weight"), "1.weight is missing"),
        (lambda s: s["objective"]["history"].update(x=[float("nan")]), "history/x/0 is nan"),
        (lambda s: s["optimizer"]["state"].pop(0), "optimizer/state/0 is missing"),
    ]:
        state = checkpoint.load(path)
        change(state)
        with pytest.raises(InputError, match=what):
            checkpoint.check(path, state, like)


def test_a_step_without_noise_is_stored_without_a_log_probability(folders):
    run_config = config(folders, sampler={"noise": "sample"})
    trainer = tiny_runs.trainer(run_config)
    lines = trainer.choose(0)
    plan = Plan(frozenset({1}), torch.tensor([[0, 1, 2]] * 2))

    def drawn(plan, **changes):
        how = run_config.sampler.model_copy(update=changes)
        return collect(trainer.policy, trainer.sampler, lines, how, plan, (0, 0))

    rollout = drawn(plan)
    steps = rollout.transitions
    assert steps.log_prob.isnan().tolist() == [[True, False, True]] * 6
    assert torch.equal(steps.x[:, 1:], steps.x_next[:, :-1])
    assert torch.equal(steps.x_next[:, 2], rollout.clean)
    # Where a group shares its noise, what it shares is stored of each of its samples.
    shared = drawn(plan, noise="group").transitions
    assert torch.equal(shared.x[0, 1], shared.x[2, 1])
    assert not torch.equal(shared.x[0, 2], shared.x[2, 2])
    # Storing more changes nothing.
    assert torch.equal(rollout.clean, drawn(Plan(frozenset({1}), torch.tensor([[1]] * 2))).clean)


def test_settings_of_the_packages_objectives_load_no_torch():
    code = """
import sys
from grpo import objectives
from grpo.config.fields import Config
print(*[objectives.find(kind).config_class.__name__ for kind in objectives.KINDS], *sys.modules)
"""
    root = Path(__file__).parents[2]
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    words = shown.stdout.split()
    assert all(word.endswith("Config") for word in words[: len(objectives.KINDS)])
    assert not {"torch", "diffusers"} & set(words)


RECIPE = """
method = "flow-grpo"
model = "shapes-flow"
reward = "sharpness"
prompts = "package:rewardkit.shapes/lists/train.jsonl"
steps = 10
[objective]
kind = "critic"
value_lr = 0.003
"""


def test_commands_and_settings_know_its_kind(tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE, "utf-8")
    resolved = resolve(str(recipe), settings={"objective.value_lr": "5e-3"})
    assert resolved.config.objective == CriticConfig(kind="critic", updates=2, value_lr=5e-3)
    assert resolved.origins["objective.value_lr"] == "your setting"
    assert resolved.config.model_dump()["objective"]["value_lr"] == 5e-3
    assert "objective.value_lr" in fields("critic")
    shown = CliRunner().invoke(main, ["recipes", str(recipe)]).stdout
    assert 'kind = "critic"' in shown and "Learning rate of the value network." in shown
    assert resolved.notes == (
        f"objective.kind is critic (recipe {recipe}) in place of policy-gradient, whose settings "
        "are left out: clip_range, fraction, drop_last, kl, kl_space",
        "advantage.scale, advantage.unbiased, advantage.eps, advantage.combine (method flow-grpo): "
        "no effect, because a value network gives the advantages",
    )
    dry = CliRunner().invoke(main, ["train", "--recipe", str(recipe), "--dry-run"])
    assert "steps_trained_per_sample: 1" in dry.stdout, dry.output


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"objective.value_lr": "2"},
            "objective.value_lr is 2.0 (your setting); accepted is less than",
        ),
        ({"objective.clip_range": "1"}, "belongs to objectives of the kind policy-gradient"),
        ({"sampler.noise": "group"}, "a critic needs sampler.noise=sample"),
        ({"advantage.scale": "batch"}, "scale is batch (your setting), which has no effect: a v"),
        ({"objective.kind": "critics"}, "or 'critic'"),
    ],
)
def test_its_settings_are_refused_in_words(tmp_path, settings, message):
    recipe = tmp_path / "mine.toml"
    recipe.write_text(RECIPE, "utf-8")
    with pytest.raises(UsageError) as refused:
        resolve(str(recipe), settings=settings)
    assert message in str(refused.value)


def test_a_run_whose_plug_in_is_gone_says_so(folders, tmp_path, monkeypatch):
    run = Run(tmp_path)
    tmp_path.joinpath("config.json").write_text(config(folders).model_dump_json(), "utf-8")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [])
    objectives._plugins.cache_clear()
    with pytest.raises(
        InputError, match=r"objective\.kind is \"critic\"; accepted is 'policy-grad"
    ):
        run.read_config()


def fault(**methods):
    """The objective with some of its methods done wrong."""
    return type("Faulty", (Critic,), methods)


def faulty_settings(**methods):
    """The objective with some of its settings' methods done wrong."""
    return fault(config_class=type("FaultySettings", (CriticConfig,), methods))


class Undescribed(CriticConfig):
    """Settings, one of which has no sentence under it."""

    size: int = 1


def keeps_a_copy(self, *arguments):
    Critic.__init__(self, *arguments)
    self.policy.keep("old")


def draws_weights_unseeded(self, *arguments):
    Critic.__init__(self, *arguments)
    nn.init.normal_(self.value[1].weight)


def plans_by_the_number_of_plans(self, groups, rng):
    self.plans = getattr(self, "plans", -1) + 1
    return Plan(frozenset({0}), torch.tensor([[0, 1]] * groups) + self.plans % 2)


def credits_with_a_graph(self, rollout, scores):
    found = Critic.credit(self, rollout, scores)
    return replace(found, values=found.values * self.value[1].weight.sum())


def counts_a_term_twice(self, samples, keys):
    yield from (replace(term, share=1.0) for term in Critic.terms(self, samples, keys))


def moves_the_vae(self, updates):
    Critic.after_updates(self, updates)
    with torch.no_grad():
        next(self.policy.pipeline.diffusers.vae.parameters()).add_(1)


def restores_no_history(self, state):
    Objective.restore(self, state)


@pytest.mark.parametrize(
    ("faulty", "complaint"),
    [
        (
            faulty_settings(unread=lambda self, config: {"advantage.size": "of no effect"}),
            r"unread\(\) names \['advantage\.size'\]",
        ),
        (
            fault(config_class=Undescribed),
            r"without a sentence under them: \['objective\.size'\]",
        ),
        (
            fault(plan=plans_by_the_number_of_plans),
            "two plans differ that were made with the same rng",
        ),
        (
            faulty_settings(steps_stored=lambda self, sampler: 3),
            r"has the shape \[2, 2\]; .* is \[2, 3\]",
        ),
        (fault(__init__=keeps_a_copy), r"copies\(\) is 0, and the copies kept are \['old'\]"),
        (fault(modules=lambda self: {}), "`value` has parameters that nothing trains"),
        (fault(credit=credits_with_a_graph), "advantages have a graph"),
        (fault(credit_reads_samples=False), "set credit_reads_samples to True"),
        (fault(terms=counts_a_term_twice), r"add up to 2\.0, not 1"),
        (
            faulty_settings(steps_trained=lambda self, sampler: 2),
            r"is 2, and terms\(\) has made 6 pred",
        ),
        (fault(after_updates=moves_the_vae), r"not trained have moved: \['vae/"),
        (fault(after_updates=lambda self, updates: None), "0 updates, and 2 are counted"),
        (fault(__init__=draws_weights_unseeded), "begin differently, in modules/value"),
        (fault(restore=restores_no_history), r"state\(\) and restore\(\) lose history"),
        (
            fault(restore=restores_no_history, state=Objective.state),
            "differs from one that was not",
        ),
    ],
)
def test_what_breaks_the_contract_is_named(folders, tmp_path, monkeypatch, faulty, complaint):
    monkeypatch.setattr(objectives, "find", lambda kind: faulty)
    with pytest.raises(AssertionError, match=complaint):
        check_objective(config(folders), tmp_path)
