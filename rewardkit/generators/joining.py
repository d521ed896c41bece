"""Pipelines of several repositories: a folder in diffusers' layout that links to the parts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rewardkit.errors import WeightsError
from rewardkit.records.documents import read_json
from rewardkit.records.provenance import sha256_text
from rewardkit.records.storage import write_json
from rewardkit.weights.checkpoint import cause
from rewardkit.weights.memory import home
from rewardkit.weights.quiet import without_retries

_INDEX = "model_index.json"


def joined(base: Path, pipeline: str, parts: Mapping[str, str]) -> tuple[Path, dict[str, str]]:
    """The folder of a pipeline whose parts are in several repositories.

    Args:
        base: the snapshot of the repository with all other parts.
        pipeline: the class of the whole, in diffusers.
        parts: the repository of each part that is not in `base`, with its files at the top.

    Returns:
        The folder, and REPOSITORY@COMMIT of each part.

    Raises:
        WeightsError: a part is not on this machine and cannot be downloaded.
    """
    snapshots = {part: _snapshot(part, repo) for part, repo in parts.items()}
    commits = {part: f"{parts[part]}@{snapshot.name}" for part, snapshot in snapshots.items()}
    name = sha256_text("\n".join([pipeline, str(base), *commits.values()]))[:16]
    folder = home() / "joined" / f"{pipeline}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    others = {path.name: path for path in base.iterdir() if path.name != _INDEX}
    for link, target in (others | snapshots).items():
        path = folder / link
        # Made anew where the cache has moved since.
        if not path.exists():
            path.unlink(missing_ok=True)
            path.symlink_to(target.resolve(), target_is_directory=target.is_dir())
    index = read_json(base / _INDEX)
    write_json(folder / _INDEX, {**index, "_class_name": pipeline})
    return folder, commits


def _snapshot(part: str, repo: str) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        with without_retries():
            return Path(
                snapshot_download(
                    repo,
                    allow_patterns=["*.json", "*.safetensors"],
                    local_files_only=constants.HF_HUB_OFFLINE,
                )
            )
    except Exception as error:  # the hub's client, its HTTP library and the disk have their own
        raise WeightsError(
            f"{repo}, which holds the {part}, is not on this machine and could not be downloaded: "
            f"{cause(error)}. Without a network, give a folder: a copy of the pipeline whose "
            f"folder {part} holds the files of {repo}"
        ) from error
