"""What stands beside weights in a snapshot is read as carefully as the weights."""

import json

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

import rewardkit
from rewardkit.errors import WeightsError

FILES = rewardkit.Snapshot(name="mine.v1", repo="us/mine", patterns=("*.json",), licence="MIT")


def make():
    words = models.WordLevel({"[UNK]": 0, "a": 1, "red": 2, "ring": 3}, unk_token="[UNK]")
    core = Tokenizer(words)
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]")


@pytest.fixture
def folder(tmp_path):
    make().save_pretrained(tmp_path)
    return tmp_path


def test_a_tokenizer_lies_beside_the_weights_of_a_snapshot(folder):
    loader = rewardkit.Loader("cpu", weights={"mine.v1": folder})
    tokenizer = loader.processor(AutoTokenizer.from_pretrained, FILES, tiny=make)
    assert tokenizer("a red ring").input_ids == [1, 2, 3]
    assert set(loader.located["mine.v1"].files) >= {"tokenizer.json"}, "results record it"


def test_a_tiny_loader_makes_its_tokenizer_and_reads_nothing():
    tokenizer = rewardkit.Loader("cpu", tiny=True).processor(pytest.fail, FILES, tiny=make)
    assert tokenizer("red").input_ids == [2]


def test_a_tokenizer_that_asks_to_run_code_is_refused(folder):
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["auto_map"] = {"AutoTokenizer": ["mine.Tokenizer", None]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    loader = rewardkit.Loader("cpu", weights={"mine.v1": folder})
    with pytest.raises(WeightsError, match="asks to run code of its own folder"):
        loader.processor(AutoTokenizer.from_pretrained, FILES, tiny=make)


def test_a_damaged_tokenizer_is_named_with_its_folder(folder):
    (folder / "tokenizer.json").write_text("{}")
    loader = rewardkit.Loader("cpu", weights={"mine.v1": folder})
    with pytest.raises(WeightsError, match="holds no tokenizer or processor that can be read"):
        loader.processor(AutoTokenizer.from_pretrained, FILES, tiny=make)
