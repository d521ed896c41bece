"""The loader that rewards take encoders and weights from: one device, one dtype, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from rewardkit.devices import pick_device, pick_dtype
from rewardkit.engine.card import RewardCard
from rewardkit.errors import UsageError, WeightsError, unknown
from rewardkit.service import Endpoint
from rewardkit.weights.checkpoint import check_fit, load_strict, read_files, read_state_dict
from rewardkit.weights.hub import locate
from rewardkit.weights.pins import Located, PinnedFile, Snapshot
from rewardkit.weights.pretrained import from_pretrained, read_processor

if TYPE_CHECKING:
    import torch

_M = TypeVar("_M", bound="torch.nn.Module")
_T = TypeVar("_T")
Convert: TypeAlias = "Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]"


class Loader:
    """Loads networks for rewards and remembers what it loaded.

    Args:
        device: "auto" is a CUDA device, Apple's, or the CPU, the first there is.
        dtype: of the networks; pixels are prepared and final products computed in float32.
        weights: local files by name, instead of the hub's.
        endpoint: of the service that rewards call.
        tiny: build small random networks instead of loading weights: the same code path, for tests.

    Attributes:
        located: all weights loaded so far, by name.
        networks: every network loaded so far: those of `module`, and those given to
            `keep`. `move` moves them; a reward that loads a network otherwise keeps it where it is.
    """

    def __init__(
        self,
        device: str = "auto",
        dtype: str = "float32",
        weights: Mapping[str, str | Path] | None = None,
        *,
        endpoint: Endpoint | None = None,
        tiny: bool = False,
    ) -> None:
        self.device = pick_device(device)
        self.dtype = pick_dtype(dtype)
        self.endpoint = endpoint
        self.tiny = tiny
        self.located: dict[str, Located] = {}
        self.networks: list[torch.nn.Module] = []
        self.overrides = {name.casefold(): Path(path) for name, path in (weights or {}).items()}
        self._shared: dict[Hashable, Any] = {}

    @property
    def ahead(self) -> int:
        """Batches to prepare while one is scored, for `Scorer.stream`."""
        # Networks on the CPU want every core: decoding beside them would slow both down.
        return 0 if self.device.type == "cpu" and self.located else 2

    def shared(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """What `make` returns, made once for all rewards that ask by an equal key."""
        if key not in self._shared:
            self._shared[key] = make()
        made: _T = self._shared[key]
        return made

    def module(
        self,
        build: Callable[[], _M],
        weights: PinnedFile | Snapshot,
        convert: Convert | None = None,
    ) -> _M:
        """The network `build` makes, in evaluation mode, holding exactly `weights`.

        `convert` renames the tensors of a file that was written for another implementation, or
        leaves out unused ones. All files of tensors of a snapshot are read.

        Raises:
            WeightsError: the weights are not there, not the recorded ones, or do not fit.
        """
        import torch

        if self.tiny:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                module = build()
        else:
            path = self._find(weights)
            files = self.located[weights.name].files if path.is_dir() else ()
            # Files go first: wrong ones are refused before gigabytes are filled with noise.
            state = read_files(path, files) if files else read_state_dict(path)
            try:
                state = convert(state) if convert else state
                if (outline := _outline(build)) is not None:
                    check_fit(outline, state)
                module = build()
                load_strict(module, state)
            except WeightsError as error:
                raise WeightsError(f"{path} cannot be loaded: {error}") from error
        return self.keep(module.eval().requires_grad_(False))

    def pretrained(self, kind: type[_M], snapshot: Snapshot, tiny: Callable[[], _M]) -> _M:
        """The network that `kind.from_pretrained` reads from a snapshot, in evaluation mode.

        Every tensor is from a file and every tensor of the files is used; it is on the device, in
        the loader's dtype.

        Args:
            kind: a class of transformers or diffusers.
            snapshot: holds its config and weights.
            tiny: makes the small random network of a tiny loader.

        Raises:
            WeightsError: the files are not there, not the recorded ones, or do not fit.
        """
        return self.network(
            lambda: from_pretrained(kind, self.folder(snapshot), self.dtype).to(self.dtype),
            tiny=lambda: tiny().to(self.dtype),
        )

    def network(self, read: Callable[[], _M], tiny: Callable[[], _M]) -> _M:
        """The network that `read` makes of files, on the device and in evaluation mode.

        For what neither `module` nor `pretrained` reads, such as a network of two repositories.

        Args:
            read: finds its files with `file` and `folder`; chooses the dtype, as `tiny` does.
            tiny: makes the small random network of a tiny loader.
        """
        import torch

        if self.tiny:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                network = tiny()
        else:
            network = read()
        return self.keep(network.to(self.device).eval().requires_grad_(False))

    def processor(
        self, read: Callable[[Path], _T], snapshot: Snapshot, tiny: Callable[[], _T]
    ) -> _T:
        """The tokenizer, image processor or processor that lies in the folder of a snapshot.

        Args:
            read: reads it, such as `AutoTokenizer.from_pretrained`; code in the folder is not run.
            snapshot: holds its files; `pretrained` may read the network from the same.
            tiny: makes that of a tiny loader.

        Raises:
            WeightsError: the files are not there, not the recorded ones, or cannot be read.
        """
        return tiny() if self.tiny else read_processor(read, self.folder(snapshot))

    def keep(self, network: _M) -> _M:
        """The network itself, which from now on `move` moves with the others."""
        self.networks.append(network)
        return network

    def endpoint_of(self, card: RewardCard) -> Endpoint:
        """The endpoint that a reward calls.

        Raises:
            UsageError: none is given.
        """
        if self.endpoint is None:
            raise _without_endpoint(card)
        return self.endpoint

    def move(self, device: torch.device | str) -> None:
        """Moves all networks, and frees the memory of a GPU that they leave.

        They score on `device` of this loader alone; between phases of scoring they can wait on the
        CPU.
        """
        import torch

        for network in self.networks:
            network.to(device)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def file(self, weights: PinnedFile) -> Path:
        """The path of a file; one that is no network, such as a vocabulary, is read by its user.

        Raises:
            WeightsError: the file is not there, or not the recorded one.
        """
        return self._find(weights)

    def folder(self, snapshot: Snapshot) -> Path:
        """The folder of a snapshot, for what reads configs and tokenizers.

        Raises:
            WeightsError: files are not there, or not the recorded ones.
        """
        return self._find(snapshot)

    def _find(self, weights: PinnedFile | Snapshot) -> Path:
        located = locate(weights, self.overrides)
        self.located[weights.name] = located
        return located.path


def _outline(build: Callable[[], _M]) -> _M | None:
    """The network without memory for its tensors; None where its code asks for their values."""
    import torch

    try:
        with torch.device("meta"):
            return build()
    except (RuntimeError, NotImplementedError, ValueError, TypeError):
        return None  # then the whole network is compared, later


def check_overrides(names: Iterable[str], cards: Sequence[RewardCard]) -> None:
    """Refuse a local file for weights that none of `cards` loads: it would be left unread.

    Raises:
        UsageError: with the nearest names.
    """
    known = {weights.name.casefold() for card in cards for weights in card.all_weights}
    for name in names:
        if name not in known:
            raise unknown("name of weights", name, known, "rewardkit show tells them per reward")


def check_endpoint(cards: Sequence[RewardCard], endpoint: Endpoint | None) -> None:
    """Refuse a reward without the endpoint that it calls, and an endpoint that no reward calls.

    Raises:
        UsageError: there is such a reward, or such an endpoint.
    """
    calling = [card for card in cards if card.needs_endpoint]
    if calling and endpoint is None:
        raise _without_endpoint(calling[0])
    if endpoint is not None and not calling:
        names = ", ".join(card.name for card in cards)
        raise UsageError(f"the endpoint {endpoint.url} is given, and none of {names} calls one")


def _without_endpoint(card: RewardCard) -> UsageError:
    return UsageError(
        f"{card.name} calls a service, and no endpoint is given. Give --endpoint URL, such as "
        "http://127.0.0.1:8000/v1, and for a judge --judge-model NAME; in Python, "
        "endpoint=rewardkit.Endpoint(URL, NAME)"
    )
