"""State dicts are read strictly, and nothing in their file is run."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from rewardkit.engine.loader import Loader
from rewardkit.errors import WeightsError
from rewardkit.weights.checkpoint import check_finite, load_strict, read_state_dict
from rewardkit.weights.pins import PinnedFile

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.zeros(2)}


def saved(path, state):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_state_dict_reads_back(tmp_path, suffix):
    got = read_state_dict(saved(tmp_path / f"w{suffix}", STATE))
    assert all(torch.equal(got[key], STATE[key]) for key in STATE) and got.keys() == STATE.keys()


def test_a_training_checkpoint_gives_its_state_dict(tmp_path):
    wrapped = {f"module.{key}": value for key, value in STATE.items()}
    path = saved(tmp_path / "w.pt", {"state_dict": wrapped, "epoch": 3})
    assert read_state_dict(path).keys() == STATE.keys()


def test_a_checkpoint_in_the_old_torch_format_reads_too(tmp_path):
    torch.save(STATE, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert read_state_dict(tmp_path / "w.pt").keys() == STATE.keys()


class Rogue:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_truncated_file_is_refused(tmp_path, suffix):
    path = saved(tmp_path / f"w{suffix}", STATE)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"", b"text, not weights", pickle.dumps(Rogue())])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        read_state_dict(path)


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path, capsys):
    path = saved(tmp_path / "w.pt", {"state_dict": Rogue()})
    with pytest.raises(WeightsError, match="more than plain tensors"):
        read_state_dict(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weight": None}, r"1 missing \(weight\)"),
        ({"extra": torch.zeros(1)}, r"1 unexpected \(extra\)"),
        ({"weight": torch.zeros(3, 2)}, r"weight \[3, 2\] instead of \[2, 3\]"),
    ],
)
def test_loading_is_strict(change, what):
    state = {key: value for key, value in (STATE | change).items() if value is not None}
    with pytest.raises(WeightsError, match=what):
        load_strict(torch.nn.Linear(3, 2), state)


DAMAGES = {
    "removed": lambda state: {"bias": state["bias"]},
    "added": lambda state: {**state, "more": torch.zeros(1)},
    "renamed": lambda state: {"weights": state["weight"], "bias": state["bias"]},
    "NaN": lambda state: {**state, "bias": torch.full((2,), torch.nan)},
    "infinity": lambda state: {**state, "bias": torch.tensor([0.0, -torch.inf])},
    "NaN in half": lambda state: {**state, "bias": torch.full((2,), torch.nan).half()},
    "reshaped": lambda state: {**state, "bias": torch.zeros(1)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_refused_and_change_nothing(damage):
    module = torch.nn.Linear(3, 2)
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(WeightsError, match=r"missing|unexpected|another shape|NaN or infinity"):
        load_strict(module, DAMAGES[damage](STATE))
    assert all(torch.equal(before[key], tensor) for key, tensor in module.state_dict().items())


def test_large_numbers_whose_sum_overflows_are_not_called_damaged():
    largest = torch.finfo(torch.float32).max
    check_finite("it", {"weight": torch.full((4,), largest), "ids": torch.arange(3)})


@pytest.mark.parametrize("wrong", ["damaged", "other"])
def test_a_wrong_file_is_refused_before_the_network_is_built(tmp_path, wrong):
    path = saved(tmp_path / "w.pt", STATE)
    if wrong == "damaged":
        path.write_bytes(b"no weights")
    built = []

    def build():
        built.append(torch.empty(0).device.type)
        return torch.nn.Linear(5, 5)

    weights = PinnedFile(name="x", repo="us/x", files=("w.pt",), licence="MIT")
    with pytest.raises(WeightsError):
        Loader("cpu", weights={"x": path}).module(build, weights)
    assert built == ([] if wrong == "damaged" else ["meta"]), "no memory was filled"


def test_a_network_that_cannot_be_outlined_loads_as_ever(tmp_path):
    def build():
        assert torch.zeros(1).item() == 0  # has no value without memory
        return torch.nn.Linear(3, 2)

    weights = PinnedFile(name="x", repo="us/x", files=("w.pt",), licence="MIT")
    path = saved(tmp_path / "w.pt", STATE)
    module = Loader("cpu", weights={"x": path}).module(build, weights)
    assert torch.equal(module.weight, STATE["weight"])
