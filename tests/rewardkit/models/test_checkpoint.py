"""State dicts are read strictly, and nothing in their file is run."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from rewardkit.errors import WeightsError
from rewardkit.models.checkpoint import load_strict, read_state_dict

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
