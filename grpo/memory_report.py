"""The memory of a run by part, and in words. `grpo.memory` estimates it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

import torch

_DOING = {
    "embedding": "prompts are embedded",
    "rollout": "samples are drawn",
    "decoding": "samples are decoded",
    "scoring": "samples are scored",
    "update": "gradients are computed",
}


@final
@dataclass
class MemoryEstimate:
    """The memory of a run, in bytes.

    Attributes:
        device: of the policy.
        held: on the device from the first update on, by part.
        phases: what each phase of a step takes on the device on top of that.
        host: in the memory of the machine, by part.
        rewards: of the rewards' networks, on a device of their own or with the policy.
        unknown: what is not counted, and why: rewards by name, or a phase.
    """

    device: torch.device
    held: dict[str, int] = field(default_factory=dict)
    phases: dict[str, int] = field(default_factory=dict)
    host: dict[str, int] = field(default_factory=dict)
    rewards: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    @property
    def device_peak(self) -> int:
        """The most on the device; on a CPU also what is in the memory of the machine anyway."""
        host = self.on_host if self.device.type == "cpu" else 0
        return sum(self.held.values()) + max(self.phases.values()) + host

    @property
    def on_host(self) -> int:
        """What is in the memory of the machine, whatever the device."""
        return sum(self.host.values())

    def lines(self) -> list[str]:
        """The estimate in words, with a warning where the device has less."""
        widest = max(self.phases, key=lambda name: self.phases[name])
        total = memory_of(self.device)
        lines = [
            f"memory on {self.device}: {_text(self.device_peak)}, most of it while {_DOING[widest]}"
            + (f"; it has {_text(total)}" if total else ""),
            f"  kept: {_listed(self.held)}",
            f"  at times: {_listed(self.phases)}",
            f"  in the memory of the machine, {_text(self.on_host)}: {_listed(self.host)}",
        ]
        if self.rewards["weights"] and "scoring" not in self.phases:
            lines.append(f"  rewards, on their own device: {_listed(self.rewards)}")
        lines += [f"  not counted: {name}, {reason}" for name, reason in self.unknown.items()]
        if total and self.device_peak > total:
            lines.append(
                f"WARNING: that is more than {self.device} has. Set a smaller sampler.batch_size, "
                "policy.gradient_checkpointing=true, policy.dtype=bfloat16, scoring.offload=true "
                "or scoring.device to another device"
            )
        machine = memory_of(torch.device("cpu"))
        if machine and self.device.type != "cpu" and self.on_host > machine:
            lines.append(
                f"WARNING: the machine has {_text(machine)} of memory, and that is less than what "
                "a rollout and the text encoders take there. Set a smaller "
                "sampler.prompts_per_step or sampler.group_size"
            )
        return lines


def memory_of(device: torch.device) -> int | None:
    """All bytes of a device; None where it does not tell."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _listed(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {_text(size)}" for name, size in parts.items() if size)


def _text(size: int) -> str:
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
