"""AdamW over what the policy trains, and its learning rate."""

from __future__ import annotations

import math

import torch

from grpo.config.fields import OptimConfig
from grpo.policies.policy import Policy


def optimizer_of(policy: Policy, config: OptimConfig) -> torch.optim.AdamW:
    """Over the trainable parameters, in float32 whatever the networks compute in."""
    return torch.optim.AdamW(
        list(policy.parameters().values()),
        lr=config.lr,
        betas=(config.beta1, config.beta2),
        eps=config.eps,
        weight_decay=config.weight_decay,
    )


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """The rate of `step`, from 0: a linear rise over `warmup` steps, then as `decay` says."""
    done = step / steps
    falling = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
    }
    return config.lr * min(1.0, (step + 1) / (config.warmup + 1)) * falling[config.decay]
