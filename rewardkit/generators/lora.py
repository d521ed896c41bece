"""LoRAs in the layouts that trainers write, added to a pipeline whole or not at all."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewardkit.errors import WeightsError
from rewardkit.generators.lora_settings import PEFT, own_settings, settings_beside, stated
from rewardkit.weights.checkpoint import cause, check_finite, read_state_dict
from rewardkit.weights.quiet import quiet

if TYPE_CHECKING:
    import torch

LORA = "pytorch_lora_weights.safetensors"
PEFT_LORA = "adapter_model.safetensors"
# The parts of a pipeline that peft's own layout can be for: it does not say for which it is.
_NETWORKS = ("unet", "transformer")
# How names begin in diffusers' layout, which does say it.
_PARTS = ("unet.", "transformer.", "text_encoder")
# What wrappers put before the names of a network's modules, and the name of peft's adapter.
_WRAPPED = re.compile(r"^(?:module\.|_orig_mod\.|base_model\.model\.)+")
_ADAPTER = re.compile(r"(\.lora_[AB])\.\w+\.(weight|bias)$")
_MODULE = re.compile(r"(\.processor)?[._]lora.*|\.alpha$")
_log = logging.getLogger(__name__)


def find_lora(path: Path) -> Path:
    """The safetensors file of the LoRA at `path`: that file, or one in a folder of a trainer.

    A folder holds `pytorch_lora_weights.safetensors` (diffusers), `adapter_model.safetensors`
    (peft), or one safetensors file of any name (kohya-ss); or one folder in it does.

    Raises:
        WeightsError: there is none, or several, or it is in a format that could run code.
    """
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt") and path.is_file():
        raise WeightsError(_pickled(path))
    if path.is_dir():
        found = _named(path) or _only(path, path.glob("*.safetensors"))
        found = found or _only(path, filter(None, map(_named, path.glob("*/"))))
        if found is None:
            for name in ("pytorch_lora_weights.bin", "adapter_model.bin"):
                if (path / name).is_file():
                    raise WeightsError(_pickled(path / name))
    else:
        found = path if path.suffix == ".safetensors" and path.is_file() else None
    if found is None:
        raise WeightsError(
            f"{path} holds no LoRA: expected a .safetensors file, a folder with {LORA} or "
            f"{PEFT_LORA}, or the folder of a finished run"
        )
    return found


def add_lora(pipe: Any, path: Path) -> Path:
    """Adds the LoRA at `path` to a pipeline; every tensor of its file is then in the pipeline.

    The scale is alpha / rank as the file states it, or the settings of peft or DanceGRPO beside
    it; where nothing does it is 1, and a note is logged.

    Returns:
        The file.

    Raises:
        WeightsError: there is none; it is damaged, incomplete or for another model, in whole or in
            part; or its settings cannot be kept.
    """
    file = find_lora(path)
    tensors = read_state_dict(file)
    dora = [name for name in tensors if name.endswith("dora_scale")]
    if dora:
        raise WeightsError(
            f"the LoRA {file} is a DoRA of kohya-ss ({len(dora)} tensors named dora_scale), which "
            "diffusers cannot load. Merge it into its model, and give that"
        )
    check_finite(f"the LoRA {file}", tensors)
    try:
        # What is silenced on tensors left over or missing, `_check_used` finds.
        with quiet(), warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            expected = _load(pipe, file, tensors)
    except WeightsError:
        raise
    except Exception as error:  # diffusers, peft and safetensors each have their own
        raise WeightsError(
            f"the LoRA {file} does not fit a {type(pipe).__name__}: {cause(error)}"
        ) from error
    _check_used(pipe, file, expected)
    for remark in remarks:
        # Peft found modules that the settings name and for which the file has no tensor. Settings
        # that are no trainer's are made of the file's names, and may name too much.
        lacking = re.search(r"PEFT config .*? modules: (\[.+?\])", str(remark.message))
        if lacking and _targets_stated(file):
            raise WeightsError(
                f"the LoRA {file} lacks modules that its settings name, such as "
                f"{lacking[1].strip('[]').split(', ')[0]}. Save or download it again"
            )
    _note(file, tensors)
    for network in _networks(pipe).values():
        network.eval()  # peft's new layers train: their dropout would be drawn
    return file


def _load(pipe: Any, file: Path, tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Loads a LoRA's file; what it holds for the pipeline, as its networks name it."""
    known = own_settings(file, tensors)
    bare = {_ADAPTER.sub(r"\1.\2", _WRAPPED.sub("", name)): t for name, t in tensors.items()}
    settings = None if known else settings_beside(file, map(_module, bare))
    parts = {name.split(".")[0] for name in bare if name.startswith(_PARTS)}
    (part,) = [name for name in _NETWORKS if hasattr(pipe, name)]
    own_layout = not parts and any(".lora_A." in name for name in bare)
    if not known and (own_layout or (settings and parts)):
        if parts - {part}:
            raise WeightsError(
                f"the LoRA {file} is for {', '.join(sorted(parts))}, and the settings beside it "
                f"are of one network. Keep the tensors of the {part}"
            )
        inner = {name.removeprefix(f"{part}."): tensor for name, tensor in bare.items()}
        if settings and parts and isinstance(settings["target_modules"], list):
            targets = [name.removeprefix(f"{part}.") for name in settings["target_modules"]]
            settings = {**settings, "target_modules": targets}
        getattr(pipe, part).load_lora_adapter(inner, prefix=None, metadata=settings)
        return inner
    pipe.load_lora_weights(file.parent, weight_name=file.name)
    # Names of other programs are translated on loading, by the same function.
    sdxl = hasattr(pipe, "unet") and hasattr(pipe, "text_encoder_2")
    options = {"unet_config": pipe.unet.config} if sdxl else {}
    state_and_metadata: tuple[dict[str, torch.Tensor], ...] = pipe.lora_state_dict(
        file.parent, weight_name=file.name, return_lora_metadata=True, **options
    )
    return state_and_metadata[0]


def _check_used(pipe: Any, file: Path, expected: Mapping[str, torch.Tensor]) -> None:
    """Refuses a LoRA unless its tensors and those of the pipeline's adapters are the same ones.

    They are compared by value: each library has names of its own, but none changes a number.
    """
    added = {
        f"{part}.{name}": tensor
        for part, adapters in pipe.get_list_adapters().items()
        for name, tensor in getattr(pipe, part).named_parameters()
        if any(f".{adapter}." in f"{name}." for adapter in adapters)
    }
    # If names match no module, diffusers continues without an error.
    if not added:
        raise WeightsError(
            f"the LoRA {file} is for another model: none of its tensors is for a part of a "
            f"{type(pipe).__name__}"
        )
    filled = {name: tensor for name, tensor in added.items() if not tensor.is_meta}
    dtypes = {tensor.dtype for tensor in filled.values()}
    places = Counter(_print(tensor) for tensor in filled.values())
    unused = []
    for name, tensor in expected.items():
        made = next((p for d in dtypes if places[p := _print(tensor.to(d))] > 0), None)
        if made is None:
            unused.append(name)
        else:
            places[made] -= 1
    if unused:
        modules, all_modules = sorted(set(map(_module, unused))), set(map(_module, expected))
        raise WeightsError(
            f"{len(modules)} of {len(all_modules)} modules of the LoRA {file} are for another "
            f"model than this {type(pipe).__name__}, such as {modules[0]}. Give the model it was "
            "trained on"
        )
    empty = [name for name in added if name not in filled]
    empty += [name for name, tensor in filled.items() if places[_print(tensor)] > 0]
    if empty:
        raise WeightsError(
            f"the LoRA {file} lacks {len(empty)} of the {len(added)} tensors of its modules, such "
            f"as {empty[0]}. Save or download it again"
        )


def _note(file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Log what is accepted but may not be meant."""
    if not own_settings(file, tensors) and settings_beside(file, ()) is None:
        _log.warning("Note: %s states no alpha; a scale of 1 is used", file)
    second = [t for name, t in tensors.items() if re.search(r"lora_B|\.up\.|lora_up|_up\.", name)]
    if second and not any(tensor.any() for tensor in second):
        _log.warning("Note: the LoRA %s is all zero: it changes nothing", file)


def _targets_stated(file: Path) -> bool:
    return stated(file) or file.with_name(PEFT).is_file()


def _networks(pipe: Any) -> dict[str, Any]:
    import torch

    return {n: part for n, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def _print(tensor: torch.Tensor) -> tuple[tuple[int, ...], str]:
    """A fingerprint: equal for equal numbers, whatever their precision and device."""
    data = tensor.detach().cpu().float().contiguous().numpy()
    return tuple(tensor.shape), hashlib.sha256(data.tobytes()).hexdigest()


def _module(name: str) -> str:
    return _MODULE.sub("", name)


def _named(folder: Path) -> Path | None:
    """The LoRA's file in a folder, under a name that only LoRAs have."""
    return next((folder / name for name in (LORA, PEFT_LORA) if (folder / name).is_file()), None)


def _only(folder: Path, files: Iterable[Path]) -> Path | None:
    """The one file; of several, that in a folder named as trainers name the adapter to use."""
    files = sorted(files)
    usual = [file for file in files if file.parent.name in ("lora", "default")]
    if len(files) > 1 and len(usual) != 1:
        listed = ", ".join(str(file.relative_to(folder)) for file in files[:5])
        raise WeightsError(f"{folder} holds {len(files)} LoRAs: {listed}. Give one of them")
    return next(iter(usual or files), None)


def _pickled(path: Path) -> str:
    return (
        f"{path} is a pickle, which could run code; a .safetensors file is accepted. Convert it: "
        'python -c "import torch; from safetensors.torch import save_file; save_file(torch.load('
        f"'{path}', map_location='cpu', weights_only=True), '{path.with_suffix('.safetensors')}')\""
    )
