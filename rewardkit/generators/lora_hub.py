"""LoRAs that are named by their repository on the hub."""

from __future__ import annotations

import re
from pathlib import Path

from rewardkit.errors import WeightsError, describe
from rewardkit.generators.lora import LORA, PEFT_LORA
from rewardkit.generators.lora_settings import DANCE_GRPO, PEFT
from rewardkit.weights.client import can_be_repo
from rewardkit.weights.hub import download
from rewardkit.weights.pins import PinnedFile

_NAMED = re.compile(
    r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)(@(?P<revision>[\w.-]+))?"
    r"(:(?P<file>[\w./-]+\.safetensors))?"
)


def lora_path(lora: str | Path) -> Path:
    """The path of a LoRA: as it is, or in the cache where it is named by owner/name.

    A path that exists goes first, and nothing is looked for on the hub where `owner` is a folder
    here, such as that of a user's runs. The commit and checksum of the first download are
    recorded, and later ones must match, as for all weights.

    Args:
        lora: a path, or owner/name with `@REVISION` and `:FILE` where they matter.

    Raises:
        WeightsError: it is not on this machine and cannot be downloaded, or has changed.
    """
    named = _named(lora)
    if named is None:
        return Path(lora)
    repo, revision, file = named["repo"], named["revision"], named["file"]
    weights = PinnedFile(
        name=f"lora {lora}",
        repo=repo,
        files=(file,) if file else (LORA, PEFT_LORA),
        revision=revision,
        licence="of its page on the hub",
    )
    try:
        located = download(weights)
    except WeightsError as error:
        if error.__cause__ is None:  # it is here, and has changed
            raise
        raise WeightsError(
            f"the LoRA {lora} is not a path on this machine, and cannot be downloaded from the "
            f"hub: {describe(error.__cause__)[:300].rstrip('.')}. Give a path, owner/name of a "
            f"repository that has {' or '.join(weights.files)}, or owner/name:FILE.safetensors"
        ) from error
    _settings(repo, located.path, file or located.path.name, located.revision)
    return located.path


def on_hub(lora: str) -> bool:
    """Whether `lora` is no path on this machine, and can be owner/name on the hub."""
    return _named(lora) is not None


def _named(lora: str | Path) -> re.Match[str] | None:
    path = Path(lora)
    named = None if isinstance(lora, Path) else _NAMED.fullmatch(lora)
    if named is None or path.exists() or (path.suffix == ".safetensors" and not named["file"]):
        return None
    if path.parent.is_dir():
        return None
    return named if can_be_repo(named["repo"]) else None


def _settings(repo: str, path: Path, file: str, revision: str | None) -> None:
    """Downloads what says how a LoRA is scaled, where the repository has it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    folder = file.rpartition("/")[0]
    for name in (PEFT, DANCE_GRPO):
        try:
            hf_hub_download(repo, name, subfolder=folder or None, revision=revision)
            return
        except EntryNotFoundError:  # offline, and not in the cache, is one too
            continue
