"""`from_pretrained` of transformers and diffusers, with nothing missing and nothing left over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rewardkit.errors import WeightsError
from rewardkit.records.documents import read_json
from rewardkit.weights.checkpoint import cause, check_finite
from rewardkit.weights.quiet import quiet

if TYPE_CHECKING:
    import torch

_M = TypeVar("_M", bound="torch.nn.Module")
_T = TypeVar("_T")


def from_pretrained(kind: type[_M], folder: Path, dtype: torch.dtype) -> _M:
    """The network in `folder`, on the CPU; every tensor of it is from a file, and all are finite.

    Args:
        kind: a class of transformers, such as `CLIPModel`.
        folder: where `save_pretrained` wrote it.
        dtype: of its tensors.

    Raises:
        WeightsError: files are missing or damaged, do not fit, or ask to run code of their own.
    """
    refuse_code(folder)
    return _checked(kind, folder, dtype, folder)


def from_tensors(
    kind: type[_M], config: Any, state: dict[str, torch.Tensor], dtype: torch.dtype, folder: Path
) -> _M:
    """The network of a config whose tensors were read, and perhaps renamed, by somebody else.

    Args:
        kind: a class of transformers, such as `CLIPModel`.
        config: of it.
        state: its tensors, all of them and no others.
        dtype: of its tensors.
        folder: where they were read, for errors.

    Raises:
        WeightsError: tensors are missing, left over, misshapen or not finite.
    """
    return _checked(kind, None, dtype, folder, config=config, state_dict=state)


def _checked(
    kind: type[_M], source: Path | None, dtype: torch.dtype, folder: Path, **more: Any
) -> _M:
    loader: Any = kind
    try:
        with quiet():  # what this silences on tensors is judged by `check_report`
            network, report = loader.from_pretrained(
                source,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                # With this transformers names a misshapen tensor in its report, not its log.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **more,
            )
    except Exception as error:  # a damaged file fails in as many ways as it has readers
        raise WeightsError(
            f"{folder} cannot be loaded: {cause(error)}. Download or save it again"
        ) from error
    check_report(folder, report)
    check_finite(str(folder), dict(network.named_parameters()))
    loaded: _M = network
    return loaded


def read_processor(read: Callable[[Path], _T], folder: Path) -> _T:
    """What `read` makes of the files of a tokenizer or processor in `folder`.

    Raises:
        WeightsError: files are missing or damaged, or ask to run code of their own.
    """
    refuse_code(folder)
    try:
        with quiet():
            return read(folder)
    except Exception as error:  # a damaged file fails in as many ways as it has readers
        raise WeightsError(
            f"{folder} holds no tokenizer or processor that can be read: {cause(error)}. Its "
            "snapshot's patterns must name their files (such as *.json and *.txt); else download "
            "it again"
        ) from error


def refuse_code(folder: Path) -> None:
    """Refuses a folder whose settings name code in it, which transformers offers to run.

    Raises:
        WeightsError: naming the file.
    """
    for path in sorted(folder.glob("*config.json")):
        with suppress(OSError, ValueError):  # damaged ones are reported on loading
            settings = read_json(path)
            if isinstance(settings, dict) and settings.get("auto_map"):
                raise WeightsError(
                    f"{path} asks to run code of its own folder (auto_map), which is never run. "
                    "Save the part with a class of transformers"
                )


def check_report(folder: Path, report: dict[str, Any]) -> None:
    """Refuses a network by what its library reports of missing, left over, misshapen tensors.

    Raises:
        WeightsError: naming the first of them.
    """
    refuse_gaps(folder, sorted(report["missing_keys"]))
    for name, found, expected in sorted(report["mismatched_keys"]):
        raise WeightsError(
            f"{folder} does not fit its config.json: {name} is {list(found)} instead of "
            f"{list(expected)}. Download or save it again"
        )
    # A buffer of 2022 that holds 0, 1, 2, …, and that no network has today.
    left = [k for k in sorted(report["unexpected_keys"]) if not k.endswith("position_ids")]
    if left:
        raise WeightsError(
            f"{folder} holds {len(left)} tensors that its network does not have, such as "
            f"{left[0]}: its config.json is of another network. Download or save it again"
        )


def refuse_gaps(folder: Path, missing: Sequence[str]) -> None:
    """Refuses a network that lacks tensors.

    Raises:
        WeightsError: naming the first of them.
    """
    if missing:
        more = ", …" if len(missing) > 5 else ""
        raise WeightsError(
            f"{folder} lacks {len(missing)} tensors: {', '.join(missing[:5])}{more}. Download or "
            "save it again"
        )
