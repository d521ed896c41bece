"""Golden file of forward processes and distillation; the arguments are clones of repositories.

They are scxue/advantage_weighted_matching, X-GenGroup/Flow-Factory and CostaliyA/Flow-OPD.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from golden.calls import Calls, call, numbers
from torch.nn import functional
from upstream import commit, function, passage

torch.set_num_threads(1)
awm, factory, opd = map(Path, sys.argv[1:4])
AWM = awm / "advantage_weighted_matching/scripts/train_sd3_awm.py"
DGPO = factory / "src/flow_factory/trainers/dgpo.py"
CRD = factory / "src/flow_factory/trainers/crd.py"
OPD = opd / "scripts/train_sd3_opd_mix.py"


def method(file: Path, name: str, **space):
    """A method of a file's class, as a function whose first argument is `self`."""
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    (found,) = (n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == name)
    found.returns = None
    for argument in [*found.args.args, *found.args.kwonlyargs]:
        argument.annotation = None
    exec(compile(ast.Module([found], []), file, "exec"), space)
    return space[name]


def likelihoods() -> list:
    theirs = function(AWM, "compute_log_prob_awm", torch=torch)
    calls = []
    forms = {"uniform": "Uniform", "t": "t", "t2": "t**2", "huber": "huber", "ghuber": "ghuber"}
    for seed, (ours, weighting) in enumerate(forms.items()):
        output, x0, noise = (numbers(4000 + 3 * seed + i, 4, 2, 2) for i in range(3))
        sigma = torch.tensor([1.0, 0.75, 0.5, 0.25])
        output.requires_grad_()
        train = SimpleNamespace(cfg=False, ghuber_power=0.25)
        found, _, _ = theirs(
            lambda output=output, **_: [output], None, {}, sigma[:, None, None], None, None,
            SimpleNamespace(train=train), None, x0, noise, weighting=weighting,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(found.sum(), output)
        arguments = {"output": output.detach(), "x0": x0, "noise": noise, "sigma": sigma}
        calls.append(
            call(
                arguments | {"weighting": ours},
                {"log_likelihood": found.detach().float(), "gradient": gradient},
            )
        )
    return calls


def preferences() -> list:
    space = {"torch": torch}
    names = ("_compute_per_sample_preference", "_compute_group_dgpo_loss", "_maybe_clip_dsm")
    preference, loss, clip = (method(DGPO, name, **space) for name in names)
    calls = []
    for seed, clip_range in enumerate([0.01, 0.2]):
        output, target, reference, old = (numbers(4100 + 4 * seed + i, 6, 3) for i in range(4))
        output.requires_grad_()
        # Near the old policy, so that ratios are on both sides of the clip range.
        old = output.detach() + 0.1 * old
        advantage, group = 2 * numbers(4150 + seed, 6), torch.tensor([0, 0, 0, 1, 1, 1])
        this = SimpleNamespace(
            dpo_beta=5.0, clip_dsm=True, clip_kl=False,
            training_args=SimpleNamespace(group_size=3, clip_range=(-clip_range, clip_range)),
            _reduce_group_sums=lambda sums: sums.detach(),
        )  # fmt: skip
        this._compute_per_sample_preference = lambda this=this, **given: preference(this, **given)
        clamped = advantage.clamp(-1.5, 1.5)
        error = (target - output).square().mean(1)
        clipped, error = clip(this, error, old, target, clamped, {"clip_ratio": []})
        found = loss(
            this, reference, target, clamped,
            {"num_groups": 2, "local_group_indices": group}, error,
        )  # fmt: skip
        (gradient,) = torch.autograd.grad(found, output)
        arguments = {"output": output.detach(), "target": target, "reference": reference}
        arguments |= {"old": old, "advantage": advantage, "group": group, "beta": 5.0}
        arguments |= {"advantage_clip": 1.5, "clip_range": clip_range}
        results = {"loss": found.detach(), "gradient": gradient}
        calls.append(call(arguments, results | {"clip_fraction": clipped.float().mean()}))
    return calls


def centered() -> list:
    implied = passage(CRD, "if self.adaptive_logp:", "r_theta_local = ")
    qualities = passage(CRD, "adv_clipped = torch.clamp(", "adv_cur_rank = ")
    scaled = passage(CRD, "policy_loss = (ori_policy_loss", "policy_loss = (ori_policy_loss")
    penalty = passage(CRD, "kl_div = ((forward_pred", "kl_loss = self.kl_beta * torch.mean(")
    loss = method(CRD, "_compute_crd_loss", torch=torch, F=functional)
    calls = []
    for seed, (adaptive, beta) in enumerate([(True, 1.0), (False, 0.5)]):
        output, target, old, reference = (numbers(4200 + 4 * seed + i, 4, 3) for i in range(4))
        output.requires_grad_()
        advantage = 4 * numbers(4250 + seed, 4)
        this = SimpleNamespace(
            adaptive_logp=adaptive, crd_beta=beta, crd_loss_type="mse", weight_temp=-1.0,
            reward_adaptive_kl=True, kl_beta=0.1,
        )  # fmt: skip
        space = {"torch": torch, "self": this, "adv_clip_range": (-5.0, 5.0), "adv": advantage}
        space |= {"forward_pred": output, "old_v_pred": old, "v_target": target}
        space |= {"ref_pred": reference}
        for part in (implied, qualities):
            exec(part, space)
        local, rank = space["r_theta_local"], space["adv_cur_rank"]
        space["ori_policy_loss"] = loss(this, rank, rank, local.detach(), local)
        exec(scaled, space)
        exec(penalty, space)
        (gradient,) = torch.autograd.grad(space["policy_loss"], output, retain_graph=True)
        arguments = {"output": output.detach(), "target": target, "old": old}
        arguments |= {"reference": reference, "advantage": advantage, "adaptive": adaptive}
        arguments |= {"beta": beta, "advantage_clip": 5.0, "best": 0.1, "worst": 1e-4}
        results = {"loss": space["policy_loss"].detach(), "gradient": gradient}
        calls.append(call(arguments, results | {"kl": space["kl_loss"].detach()}))
    return calls


def distances() -> list:
    distance = passage(OPD, "kl_reward = ((prev_sample_mean", "kl_reward = ((prev_sample_mean")
    calls = []
    for seed in range(2):
        mean, taught = (numbers(4300 + 2 * seed + i, 3, 2, 2, 2) for i in range(2))
        std = torch.tensor([0.5, 0.25, 1.5])
        space = {"prev_sample_mean": mean.requires_grad_(), "prev_sample_mean_ref_lora": taught}
        space |= {"std_dev_t": std[:, None, None, None]}
        exec(distance, space)
        found = space["kl_reward"].flatten()
        (gradient,) = torch.autograd.grad(found.sum(), mean)
        arguments = {"mean": mean.detach(), "mean_teacher": taught, "std": std}
        calls.append(call(arguments, {"kl": found.detach(), "gradient": gradient}))
    return calls


Calls(
    upstream=f"scxue/advantage_weighted_matching@{commit(awm)}, "
    f"X-GenGroup/Flow-Factory@{commit(factory)}, CostaliyA/Flow-OPD@{commit(opd)}",
    command="PYTHONPATH=.:tests python tests/oracle/flow_factory.py AWM FACTORY OPD",
    versions={"torch": torch.__version__},
    functions={
        "scripts/train_sd3_awm.py: compute_log_prob_awm": likelihoods(),
        "trainers/dgpo.py: _compute_group_dgpo_loss": preferences(),
        "trainers/crd.py: _compute_crd_loss": centered(),
        "scripts/train_sd3_opd_mix.py: main, kl_reward": distances(),
    },
).write("flow-factory")
