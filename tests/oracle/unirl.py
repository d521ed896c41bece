"""Golden file of Flow-DPPO's own code; the argument is a clone of Tencent-Hunyuan/UniRL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from golden.calls import Calls, call, numbers
from upstream import commit, function

torch.set_num_threads(1)
clone = Path(sys.argv[1])
FILE = "unirl/algorithms/flowdppo.py"
names: dict[str, Any] = {"torch": torch, "Dict": dict, "Tuple": tuple}
names["_gaussian_kl_div"] = function(clone / FILE, "_gaussian_kl_div", **names)
loss = function(clone / FILE, "_flowdppo_kl_adv_loss", **names)


def masked() -> list:
    calls = []
    for seed, moved in enumerate((1 / 256, 1 / 64, 1 / 16)):
        mean, offset = (numbers(3200 + 10 * seed + i, 6, 2, 3) for i in range(2))
        old_mean, std = mean + moved * offset, 0.15
        log_prob = (0.1 * numbers(3202 + 10 * seed, 6)).requires_grad_()
        old_log_prob, advantage = (numbers(3203 + 10 * seed + i, 6) / 16 for i in range(2))
        each, figures = loss(
            new_logp=log_prob[:, None],
            old_logp=old_log_prob[:, None],
            new_means=mean[:, None],
            old_means=old_mean[:, None],
            advantages=advantage[:, None],
            sigma_t=torch.tensor(std),
            kl_mask_threshold=1e-3,
        )
        (gradient,) = torch.autograd.grad(each.mean(), log_prob)
        arguments = {"mean": mean, "old_mean": old_mean, "std": std, "advantage": advantage}
        arguments |= {"log_prob": log_prob.detach(), "old_log_prob": old_log_prob}
        results = {"loss": each.mean().detach(), "gradient": gradient}
        results |= {
            "masked_fraction": figures["masked_fraction"],
            "divergence": figures["kl_new_old_mean"],
            "ratio": figures["ratio_mean"],
        }
        calls.append(call(arguments | {"threshold": 1e-3}, results))
    return calls


Calls(
    upstream=f"Tencent-Hunyuan/UniRL@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/unirl.py CLONE",
    versions={"torch": torch.__version__},
    functions={f"{FILE}: _flowdppo_kl_adv_loss": masked()},
).write("unirl")
