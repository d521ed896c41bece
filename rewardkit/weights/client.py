"""The hub's client, asked for what we need of it: one file at a commit, and the list of files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from rewardkit.errors import describe
from rewardkit.weights.quiet import without_retries


class NotDownloaded(Exception):
    """A file or a list is not in the cache and cannot be had; its cause is the client's error."""


def download_file(
    repo: str, files: Sequence[str], revision: str | None, kind: str | None
) -> tuple[Path, str, str]:
    """The first of `files` that a repository has: its snapshot's folder, its name, its commit.

    Args:
        repo: owner/name.
        files: names inside the repository, in order of preference.
        revision: a commit or branch; None is the newest commit.
        kind: "dataset" for a repository of data.

    Raises:
        NotDownloaded: none of them is in the cache, and none can be downloaded.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    failure: Exception | None = None
    for file in files:
        try:
            with without_retries():
                path = Path(hf_hub_download(repo, file, revision=revision, repo_type=kind))
            # The client keeps every file as snapshots/<commit>/<file>, which may lie in folders.
            folder = path.parents[len(PurePosixPath(file).parts) - 1]
            return folder, file, folder.name
        except LocalEntryNotFoundError as error:  # offline, or unreachable, and not in the cache
            failure = error
        except EntryNotFoundError as error:  # the repository has no such file: try the next
            failure = error
        except (_connection_error(), OSError) as error:
            failure = error
            break
    assert failure is not None
    raise NotDownloaded(describe(failure)) from failure


def list_files(repo: str, revision: str | None) -> tuple[str, list[str]]:
    """The commit that a revision of a repository is, and the names of the files it has.

    Raises:
        NotDownloaded: the hub cannot be reached, or has no such repository or revision.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    try:
        with without_retries():
            info = HfApi(endpoint=constants.ENDPOINT).model_info(repo, revision=revision)
    except (_connection_error(), HFValidationError, OfflineModeIsEnabled, OSError) as error:
        raise NotDownloaded(describe(error)) from error
    assert info.sha is not None
    return info.sha, [sibling.rfilename for sibling in info.siblings or ()]


def can_be_repo(name: str) -> bool:
    """Whether a repository on the hub can have this name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _connection_error() -> type[Exception]:
    """What the client raises where a hub answers with an error, or does not answer."""
    from huggingface_hub import errors

    # The class is that of the HTTP library which this version of the client uses.
    error: type[Exception] = vars(errors)["HTTPError"]
    return error
