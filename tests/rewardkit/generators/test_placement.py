"""Networks are cast as their authors load them, and leave a device as they came."""

import pytest
import tiny_parts
import tiny_pipelines
import torch
from diffusers import DiffusionPipeline
from transformers import T5EncoderModel

from rewardkit.generators.pipelines import load
from rewardkit.generators.placement import cast, visiting

META = torch.device("meta")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("pipelines")
    tiny_pipelines.sd3_t5(home / "tokenizer").save_pretrained(home / "sd3")
    return home / "sd3"


def dtypes(network):
    return {name: tensor.dtype for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_cast_network_is_what_its_library_loads(folder, dtype):
    number = getattr(torch, dtype)
    theirs = DiffusionPipeline.from_pretrained(folder, dtype=number)
    ours, exact = load(folder, device="cpu", dtype=dtype), load(folder, device="cpu")
    for part in ("text_encoder", "text_encoder_2", "text_encoder_3", "transformer"):
        expected = dtypes(getattr(theirs, part))
        assert dtypes(getattr(ours.diffusers, part)) == expected
        network = getattr(exact.diffusers, part)
        cast(network, number)
        assert dtypes(network) == expected
        assert all(
            torch.equal(value, getattr(theirs, part).state_dict()[name])
            for name, value in network.state_dict().items()
        )
    assert {*dtypes(ours.diffusers.vae).values()} == {torch.float32}
    # T5 overflows in float16 where its `wo` is in it; in bfloat16 its authors keep nothing.
    kept = {name for name, dtype in dtypes(theirs.text_encoder_3).items() if dtype == torch.float32}
    assert kept == ({name for name in kept if ".wo." in name} if dtype == "float16" else set())
    assert bool(kept) == (dtype == "float16")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_diffusers_keeps_in_float32_stays_in_it(dtype):
    class Network(torch.nn.Module):
        _keep_in_fp32_modules = ("norm1",)

        def __init__(self):
            super().__init__()
            self.norm1, self.proj = torch.nn.LayerNorm(2), torch.nn.Linear(2, 2)
            self.norm10 = torch.nn.LayerNorm(2)  # part of a name is no name
            self.register_buffer("number", torch.tensor(3))

    network = Network()
    cast(network, dtype)
    assert {name for name, dtype in dtypes(network).items() if dtype == torch.float32} == {
        "norm1.weight", "norm1.bias",
    }  # fmt: skip
    assert network.number.dtype == torch.int64
    cast(network, torch.float32)
    assert torch.float32 == network.proj.weight.dtype == network.norm10.weight.dtype


def test_a_visitor_leaves_as_it_came():
    network = tiny_parts.t5("", 8)["text_encoder"]
    assert isinstance(network, T5EncoderModel)
    own = {name: id(tensor) for name, tensor in network.named_parameters(remove_duplicate=False)}
    with pytest.raises(ZeroDivisionError), visiting([network], META):
        assert {tensor.device for tensor in network.state_dict().values()} == {META}
        there = dict(network.named_parameters(remove_duplicate=False))
        assert there["shared.weight"] is there["encoder.embed_tokens.weight"]
        raise ZeroDivisionError
    after = dict(network.named_parameters(remove_duplicate=False))
    assert {name: id(tensor) for name, tensor in after.items()} == own
