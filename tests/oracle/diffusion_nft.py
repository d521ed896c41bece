"""Golden file of DiffusionNFT's own code; the argument is a clone of NVlabs/DiffusionNFT."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
from golden.calls import Calls, call, numbers
from upstream import commit, passage

torch.set_num_threads(1)
clone = Path(sys.argv[1])
SCRIPT = clone / "scripts/train_nft_sd3.py"
forward = passage(SCRIPT, 'x0 = train_sample_batch["latents_clean"]', "xt = ")
policy = passage(SCRIPT, "advantages_clip = torch.clamp(", "policy_loss = (")
penalty = passage(SCRIPT, "kl_div_loss = ((forward", "kl_div_loss = torch.mean(")


def losses() -> list:
    calls = []
    for seed, beta in enumerate([1.0, 0.1, 1.0]):
        x0, new, old, reference = (numbers(3000 + 4 * seed + i, 4, 2, 2) for i in range(4))
        # The third has advantages that the clip cuts.
        advantage = numbers(3100 + seed, 4) * (1 if seed < 2 else 4)
        sigma = torch.tensor([1.0, 0.75, 0.5, 0.25])
        new.requires_grad_()
        torch.manual_seed(seed)
        batch = {"latents_clean": x0, "timesteps": 1000 * sigma[:, None]}
        batch["advantages"] = advantage[:, None]
        train = SimpleNamespace(adv_clip_max=5, beta=1e-4)
        space = {"torch": torch, "train_sample_batch": batch, "j_idx": 0, "loss_terms": {}}
        space |= {"config": SimpleNamespace(train=train, beta=beta)}
        space |= {"forward_prediction": new, "old_prediction": old}
        space |= {"ref_forward_prediction": reference}
        exec(forward, space)
        exec(policy, space)
        loss = space["policy_loss"]
        (gradient,) = torch.autograd.grad(loss, new)
        space["loss"] = loss.detach().clone()  # upstream adds the penalty in place
        exec(penalty, space)
        arguments = {"velocity": new.detach(), "velocity_old": old, "velocity_ref": reference}
        arguments |= {"x0": x0, "noise": space["noise"], "sigma": sigma, "advantage": advantage}
        arguments |= {"beta": beta, "advantage_clip": 5.0}
        results = {"x_t": space["xt"], "loss": loss.detach(), "gradient": gradient}
        results |= {
            "positive": space["positive_loss"].mean().detach(),
            "negative": space["negative_loss"].mean().detach(),
            "deviation": space["loss_terms"]["old_deviate"],
            "kl": space["kl_div_loss"].detach(),
        }
        calls.append(call(arguments, results))
    return calls


Calls(
    upstream=f"NVlabs/DiffusionNFT@{commit(clone)}",
    command="PYTHONPATH=.:tests python tests/oracle/diffusion_nft.py CLONE",
    versions={"torch": torch.__version__},
    functions={"scripts/train_nft_sd3.py: main, loss": losses()},
).write("diffusion-nft")
