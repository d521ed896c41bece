"""Training that starts from a LoRA: its tensors are the run's LoRA before the first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from grpo.policies.policy import Policy
from grpo.sharding import put
from rewardkit.errors import UsageError, WeightsError
from rewardkit.generators.exports import refuse_unfinished
from rewardkit.generators.folders import trained
from rewardkit.generators.lora import add_lora
from rewardkit.generators.pipelines import Pipeline
from rewardkit.generators.protocol import carried_card
from rewardkit.records.provenance import sha256_file

if TYPE_CHECKING:
    from grpo.config.fields import Config

#: Settings of peft under which a LoRA is not B A alpha / rank on each layer.
OTHER_KINDS = ("use_dora", "use_rslora", "lora_bias", "rank_pattern", "alpha_pattern")


@dataclass(frozen=True)
class Start:
    """A LoRA that training starts from.

    Attributes:
        file: its file.
        sha256: of the file.
        rank: of every layer.
        alpha: its product is scaled by alpha / rank.
        tensors: by peft's names, which name the layers.
        trained_on: what its folder says that it was trained on.
    """

    file: Path
    sha256: str
    rank: int
    alpha: int
    tensors: Mapping[str, Tensor]
    trained_on: Mapping[str, Any] | None

    def adopted(self, config: Config) -> Config:
        """`config` with the LoRA's rank, alpha and layers."""
        layers = {name.rsplit(".lora_", 1)[0] for name in self.tensors}
        own = {"rank": self.rank, "alpha": self.alpha, "targets": tuple(sorted(layers))}
        return config.model_copy(update={"policy": config.policy.model_copy(update=own)})

    def put(self, policy: Policy) -> None:
        """Gives the LoRA's values to that of a policy, which is of the adopted configuration."""
        # A parameter's name in the network holds the adapter's, which peft leaves out in files.
        targets = {name.replace(".default.", "."): p for name, p in policy.parameters().items()}
        different = targets.keys() ^ self.tensors.keys()
        if different:
            raise WeightsError(
                f"the LoRA {self.file} could not be taken whole: {min(different)} differs"
            )
        for name, tensor in self.tensors.items():
            put(targets[name], tensor)


def take(pipeline: Pipeline, part: str, path: Path) -> Start:
    """The LoRA at `path`, read by way of a pipeline, which is afterwards as it was.

    Args:
        pipeline: the pipeline of the LoRA.
        part: its trained part.
        path: as for `rewardkit.generators.pipelines.load`.

    Raises:
        UsageError: it is of a kind, or for parts, that are not trained here.
        WeightsError: there is none, or it does not fit the pipeline.
    """
    pipe: Any = pipeline.diffusers
    refuse_unfinished(path)
    with _in_float32(getattr(pipe, part)):
        return _taken(pipe, part, trained(path))


def _taken(pipe: Any, part: str, path: Path) -> Start:
    from peft import get_peft_model_state_dict

    file = add_lora(pipe, path)
    adapters = pipe.get_list_adapters()
    if set(adapters) != {part}:
        raise UsageError(
            f"the LoRA {file} is for {' and '.join(sorted(adapters))}, but only the {part} is "
            "trained. Merge it with diffusers' fuse_lora and save_pretrained, and train that folder"
        )
    network, (name,) = getattr(pipe, part), adapters[part]
    settings = network.peft_config[name]
    tensors = {
        key: value.detach().float().cpu().clone()
        for key, value in get_peft_model_state_dict(network, adapter_name=name).items()
    }
    pipe.unload_lora_weights()
    odd = [f"{key} {value}" for key in OTHER_KINDS if (value := getattr(settings, key, None))]
    if settings.lora_alpha != int(settings.lora_alpha):
        odd.append(f"alpha {settings.lora_alpha}")
    if odd:
        raise UsageError(
            f"the LoRA {file} has {', '.join(odd)[:200]}; a run trains one rank and one whole "
            "alpha on each layer. Merge it with diffusers' fuse_lora and save_pretrained, and "
            "train that folder"
        )
    trained_on = carried_card(file.parent).get("trained_on")
    return Start(file, sha256_file(file), settings.r, int(settings.lora_alpha), tensors, trained_on)


@contextmanager
def _in_float32(network: nn.Module) -> Iterator[None]:
    """A network in float32 inside the block: a LoRA is rounded to what it is added to."""
    dtypes = {name: tensor.dtype for name, tensor in _tensors(network)}
    # Diffusers' own `float` warns of modules to be left in float32 where there are none.
    nn.Module.float(network)
    try:
        yield
    finally:
        for name, tensor in _tensors(network):
            tensor.data = tensor.data.to(dtypes.get(name, tensor.dtype))


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()
