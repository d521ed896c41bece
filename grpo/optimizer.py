"""AdamW over what a run trains: its learning rate, clipped gradients, and float16's scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from grpo.config.fields import OptimConfig
from grpo.sharding import like, whole
from rewardkit.errors import RewardKitError


@final
class Optimizer:
    """Updates the policy's parameters, and modules that an objective trains beside them.

    Each of them is a group of AdamW's and has its gradient clipped on its own, so that a module
    does not decide how far the policy moves. Parameters are float32 for any dtype of computation.

    Args:
        policy: the policy's parameters.
        modules: by name.
        module_lr: the modules' highest learning rate.
        config: all other settings.
        device: where the parameters are.
        float16: whether networks compute in it: small gradients vanish there unless scaled up.
    """

    def __init__(
        self,
        policy: Mapping[str, nn.Parameter],
        modules: Mapping[str, nn.Module],
        module_lr: float,
        config: OptimConfig,
        device: torch.device,
        float16: bool,
    ) -> None:
        self.config = config
        self.names = ["", *(f"/{name}" for name in modules)]
        self.highest = [config.lr, *(module_lr for _ in modules)]
        groups = [list(policy.values()), *(list(m.parameters()) for m in modules.values())]
        self.adamw = torch.optim.AdamW(
            [{"params": parameters} for parameters in groups],
            lr=config.lr,
            betas=(config.beta1, config.beta2),
            eps=config.eps,
            weight_decay=config.weight_decay,
        )
        self.parameters = [parameter for group in groups for parameter in group]
        self.scaler = torch.amp.GradScaler(device.type, enabled=float16)

    def set_rates(self, step: int, steps: int) -> float:
        """Sets the learning rates of a training step, from 0 of `steps`; returns the policy's."""
        rates = [learning_rate(highest, self.config, step, steps) for highest in self.highest]
        for group, rate in zip(self.adamw.param_groups, rates, strict=True):
            group["lr"] = rate
        return rates[0]

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss."""
        self.scaler.scale(loss).backward()

    def update(self) -> dict[str, Tensor] | None:
        """Moves the parameters along the gradient, which is then gone.

        Returns:
            The gradient's norms before clipping; None where it overflowed float16, which leaves
            the update out and halves the scale.

        Raises:
            RewardKitError: the gradient is not finite: training has diverged.
        """
        self.scaler.unscale_(self.adamw)
        norms = {
            f"grad_norm{name}": whole(
                torch.nn.utils.clip_grad_norm_(group["params"], self.config.max_grad_norm)
            )
            for name, group in zip(self.names, self.adamw.param_groups, strict=True)
        }
        wrong = [not norm.isfinite() for norm in norms.values()]
        if any(wrong) and not self.scaler.is_enabled():
            raise RewardKitError(self._diverged(norms, wrong))
        self.scaler.step(self.adamw)
        self.scaler.update()
        self.adamw.zero_grad(set_to_none=True)
        return None if any(wrong) else norms

    def _diverged(self, norms: Mapping[str, Tensor], wrong: Sequence[bool]) -> str:
        """The error that names the parameters whose gradients are not finite."""
        # A module that has diverged spoils the policy's gradient too; the reverse is rare.
        place = max(place for place, is_wrong in enumerate(wrong) if is_wrong)
        norm, rate = [*norms.values()][place].item(), self.highest[place]
        if place == 0:
            return (
                f"the gradient's norm is {norm}: training has diverged. Use a lower optim.lr than "
                f"{rate:g}"
            )
        return (
            f"the gradient's norm of {self.names[place][1:]!r}, a module of the objective, is "
            f"{norm}: it has diverged. Use a lower learning rate for it than {rate:g}, by the "
            "objective's own setting, or by optim.lr if it has none"
        )

    def state(self) -> dict[str, Any]:
        """All that a later update depends on."""
        return {"optimizer": self.adamw.state_dict(), "scaler": self.scaler.state_dict()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The reverse of `state`; settings are the configuration's, not the state's."""
        saved = {
            number: {
                name: like(value, self.parameters[number]) if value.ndim else value
                for name, value in moments.items()
            }
            for number, moments in state["optimizer"]["state"].items()
        }
        ours = self.adamw.state_dict()["param_groups"]
        self.adamw.load_state_dict({"state": saved, "param_groups": ours})
        self.scaler.load_state_dict(state["scaler"])


def learning_rate(highest: float, config: OptimConfig, step: int, steps: int) -> float:
    """The rate of `step`, from 0: a linear rise over `warmup` steps, then as `decay` says."""
    done = step / steps
    falling = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
    }
    return highest * min(1.0, (step + 1) / (config.warmup + 1)) * falling[config.decay]
