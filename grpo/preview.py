"""What a run cannot be, from what is known of its model before that is loaded or downloaded.

Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from grpo import policies
from rewardkit.errors import UsageError
from rewardkit.generators.aliases import ALIASES
from rewardkit.generators.arguments import check_frames, check_size
from rewardkit.generators.families import FAMILIES
from rewardkit.generators.lora_hub import on_hub
from rewardkit.generators.pipelines import place_of
from rewardkit.generators.protocol import carried_card, carried_protocol
from rewardkit.media.task import kind_of
from rewardkit.records.documents import read_json

if TYPE_CHECKING:
    from grpo.config.fields import Config
    from rewardkit.generators.protocol import Protocol
    from rewardkit.media.batch import Kind

_INDEX = "model_index.json"
# Files in which a LoRA is kept, by diffusers and by peft.
_LORA = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors", "adapter_config.json")


@dataclass(frozen=True)
class Model:
    """A model that was looked at.

    Attributes:
        source: as it was asked for.
        pipeline: its class; None where that is not known on this machine.
        folder: its files; None where they are not on this machine.
    """

    source: str
    pipeline: str | None
    folder: Path | None

    @property
    def kind(self) -> Kind:
        """The kind of medium that it makes; pictures, where that is not known."""
        family = FAMILIES.get(self.pipeline or "")
        return "image" if family is None else kind_of(family.task)


def look(source: str, revision: str | None = None, *, fetch: bool = False) -> Model:
    """The class and the place of a model, without loading it.

    Args:
        source: as for `rewardkit.generators.pipelines.load`.
        revision: on the hub.
        fetch: whether to ask the hub for the class of what is not on this machine.

    Raises:
        UsageError: nothing goes by this name, or it cannot be trained; the message lists what can.
    """
    try:
        alias, place = place_of(source)
    except UsageError as error:
        raise UsageError(f"{error}. {_what_can()}") from None
    if isinstance(place, Path):
        model = Model(source, _class_in(place), place)
    else:
        index = _on_hub(place, revision or (alias.revision if alias else None), fetch and not alias)
        if alias and alias.parts:  # the repository's own part would be looked at in its place
            index = None
        name = alias.pipeline if alias else None
        model = Model(
            source,
            name or (_class_in(index.parent) if index else None),
            index.parent if index else None,
        )
    if model.pipeline is not None and model.pipeline not in policies.families():
        sampled = model.pipeline in FAMILIES
        able = "can be sampled and measured, but not trained" if sampled else "is not known"
        raise UsageError(f"{source} is a {model.pipeline}, which {able} here. {_what_can()}")
    return model


def check(config: Config, model: Model) -> None:
    """Refuses what `model` cannot make or be trained with; what is not known of it passes.

    Raises:
        UsageError: naming the setting, and what is accepted.
    """
    lora = config.policy.init_lora
    if lora is not None and not Path(lora).exists() and not on_hub(lora):
        raise UsageError(
            f"there is no LoRA to start from at {lora}. Give a run's folder, a LoRA's file or "
            "folder, or owner/name on the hub"
        )
    config.objective.check_files()
    sampler, policy = config.sampler, policies.families().get(model.pipeline or "")
    if policy is None:
        return
    if sampler.rule not in policy.rules:
        raise UsageError(
            f"sampler.rule {sampler.rule!r} given for a {model.pipeline}; its rules are "
            f"{', '.join(policy.rules)}"
        )
    if sampler.max_sequence_length is not None and not policy.has_text_length:
        raise UsageError(
            f"a {model.pipeline} has no max_sequence_length, and sampler.max_sequence_length "
            f"{sampler.max_sequence_length} is given. Leave it out"
        )
    if model.pipeline in FAMILIES:
        size, frames = size_of(config, model), frames_of(config, model)
        # A part's file does not say, or is damaged: the pipeline itself will tell.
        with suppress(AttributeError, TypeError):
            pipe = _sketch(model.folder)
            check_frames(model.pipeline, pipe, frames)
            if size is not None:
                check_size(model.pipeline, pipe, *size)


def _what_can() -> str:
    names = {
        pipeline: [alias.name for alias in ALIASES.values() if alias.pipeline == pipeline]
        for pipeline in policies.families()
    }
    listed = "; ".join(
        f"{pipeline}: {', '.join(known)}" if known else pipeline
        for pipeline, known in names.items()
    )
    return f"What can be trained: {listed}; or a folder, or owner/name on the hub, of these classes"


def _class_in(folder: Path) -> str:
    """The class of the pipeline in a folder."""
    if not (folder / _INDEX).is_file():
        _refuse_other(folder)
    try:
        index = read_json(folder / _INDEX)
        name = index["_class_name"]
        if not isinstance(name, str):
            raise TypeError
    except (OSError, ValueError, TypeError, KeyError):
        raise UsageError(
            f"{folder / _INDEX} does not name the class of a pipeline. Download or save it again"
        ) from None
    return name


def _refuse_other(folder: Path) -> None:
    """Refuses a folder that is no pipeline, by what it is instead."""
    model = folder / "model"
    if (model / _INDEX).is_file():
        raise UsageError(f"{folder} is a run; the model it trained is in it: --model {model}")
    if any((place / name).is_file() for place in (folder, model) for name in _LORA):
        base = next((carried_card(p).get("base") for p in (folder, model) if carried_card(p)), None)
        named = base.get("alias") or base.get("source") if isinstance(base, Mapping) else None
        raise UsageError(
            f"{folder} holds a LoRA, which is a part of a model: give the model it belongs to, and "
            f"go on from the LoRA with --lora: --model {named or 'BASE'} --lora {folder}"
        )
    what = "is a file" if folder.is_file() else f"has no {_INDEX}"
    raise UsageError(
        f"{folder} is not a pipeline in diffusers' layout: it {what}. Give the folder that "
        f"save_pretrained wrote. {_what_can()}"
    )


def _on_hub(repo: str, revision: str | None, fetch: bool) -> Path | None:
    """A repository's index in the hub's cache, or None."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    found = try_to_load_from_cache(repo, _INDEX, revision=revision)
    if not isinstance(found, str) and fetch:
        with suppress(Exception):  # loading the model reports it
            found = hf_hub_download(repo, _INDEX, revision=revision)
    return Path(found) if isinstance(found, str) else None


def size_of(config: Config, model: Model) -> tuple[int, int] | None:
    """Height and width of the media; None where only the pipeline knows."""
    own = _protocol(model)
    height = config.sampler.height or (own.height if own else None)
    width = config.sampler.width or (own.width if own else None)
    return (height, width) if height and width else None


def frames_of(config: Config, model: Model) -> int | None:
    """The number of frames of a clip; None of pictures, and where only the pipeline knows."""
    own = _protocol(model)
    return config.sampler.frames or (own.frames if own else None)


def _protocol(model: Model) -> Protocol | None:
    """The protocol that comes with a model."""
    alias, _ = place_of(model.source)
    own = carried_protocol(model.folder) if model.folder is not None else None
    return own or (alias.protocol if alias else None)


def _sketch(folder: Path | None) -> Any:
    """What `rewardkit.generators.families` reads of a pipeline's sizes, from its parts' files."""
    vae, network = (
        {} if folder is None else _config_of(folder / p) for p in ("vae", "transformer")
    )
    sketch = SimpleNamespace(transformer=SimpleNamespace(config=SimpleNamespace(**network)))
    if "block_out_channels" in vae:
        sketch.vae_scale_factor = 2 ** (len(vae["block_out_channels"]) - 1)
    # What diffusers' pipelines of clips take where a VAE does not say.
    for axis, default in (("temporal", 4), ("spatial", 8)):
        ratio = vae.get(f"scale_factor_{axis}") or vae.get(f"{axis}_compression_ratio") or default
        setattr(sketch, f"vae_scale_factor_{axis}", ratio)
    if "patch_size" in network:
        sketch.patch_size = network["patch_size"]
    return sketch


def _config_of(part: Path) -> dict[str, Any]:
    try:
        settings = read_json(part / "config.json")
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
