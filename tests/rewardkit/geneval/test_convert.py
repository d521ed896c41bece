"""mmdet's checkpoint, converted, gives mmdet's logits; what is not that checkpoint is refused."""

import pytest
import torch
from golden.mask2former import NARROW, PUBLISHED, checkpoint, inputs, load, logits_of, shapes
from golden.prompted import layout
from safetensors.torch import load_file, save_file

from rewardkit.errors import InputError, WeightsError
from rewardkit.geneval import convert, network
from rewardkit.records.provenance import sha256_file
from rewardkit.weights.hub import locate, made_path

ATOL = 1e-4
GOLDEN = load()
BLOCK = "model.pixel_level_module.encoder.encoder.layers.{}.blocks.0.attention.self.{}.weight"
LAYER = "model.transformer_module.decoder.layers.{}.self_attn.{}_proj.weight"
MERGING = "encoder.layers.{}.downsample.reduction.weight"


@pytest.fixture(scope="module")
def theirs():
    return checkpoint(NARROW)


def worst(state, config, golden):
    """The largest difference between a logit and mmdet's."""
    net = network.from_hub(state, config).eval()
    differences = []
    for pixels, expected in zip(inputs(), golden, strict=True):
        with torch.no_grad():
            out = net(pixel_values=pixels)
        got = logits_of(out.class_queries_logits, out.masks_queries_logits)
        for ours, upstream in ((got.classes, expected.classes), (got.masks, expected.masks)):
            difference = torch.tensor(ours) - torch.tensor(upstream)
            differences.append(float(difference.abs().max()))
    return max(differences)


def test_logits_are_mmdets_on_the_same_weights(theirs):
    for logits in GOLDEN.narrow:
        for part in (logits.classes, logits.masks):
            assert torch.tensor(part).std(0).mean() > 1000 * ATOL, "queries differ"
    assert worst(convert.to_hub(theirs), network.config(**NARROW), GOLDEN.narrow) <= ATOL


@pytest.mark.slow
def test_logits_of_the_published_size_are_mmdets():
    state = convert.to_hub(checkpoint(PUBLISHED))
    assert worst(state, network.config(), GOLDEN.published) <= ATOL


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (BLOCK.format(1, "query"), BLOCK.format(1, "key")),
        (BLOCK.format(2, "key"), BLOCK.format(2, "value")),
        (LAYER.format(1, "q"), LAYER.format(1, "k")),
        (LAYER.format(2, "k"), LAYER.format(2, "v")),
    ],
)
def test_another_order_of_queries_keys_and_values_gives_other_logits(theirs, ours, other):
    state = convert.to_hub(theirs)
    state[ours], state[other] = state[other], state[ours]
    assert worst(state, network.config(**NARROW), GOLDEN.narrow) > 100 * ATOL


def test_mmdets_order_of_merged_patches_gives_other_logits(theirs):
    state = convert.to_hub(theirs)
    name = "model.pixel_level_module.encoder." + MERGING.format(0)
    state[name] = theirs["backbone.stages.0.downsample.reduction.weight"]
    assert worst(state, network.config(**NARROW), GOLDEN.narrow) > 100 * ATOL


def test_the_checkpoint_of_the_published_size_is_used_to_the_last_tensor():
    theirs = {
        name: torch.zeros(shape, dtype=torch.int64 if name.endswith("index") else None)
        for name, shape in shapes(PUBLISHED).items()
    }
    assert layout(theirs) == GOLDEN.layout
    network.from_hub(convert.to_hub(theirs), network.config())


def test_a_tensor_too_many_or_too_few_is_refused(theirs):
    with pytest.raises(WeightsError, match=r"rpn_head\.conv\.weight is not a tensor of mmdet"):
        convert.to_hub(theirs | {"rpn_head.conv.weight": torch.zeros(1)})
    narrow = network.config(**NARROW)
    without = {k: v for k, v in theirs.items() if k != "panoptic_head.cls_embed.bias"}
    with pytest.raises(WeightsError, match=r"1 missing \(class_predictor\.bias\)"):
        network.from_hub(convert.to_hub(without), narrow)
    with pytest.raises(WeightsError, match=r"1 unexpected \(more\.weight\)"):
        network.from_hub(convert.to_hub(theirs) | {"more.weight": torch.zeros(1)}, narrow)
    with pytest.raises(WeightsError, match="does not fit Mask2Former"):
        network.from_hub(convert.to_hub(theirs), network.config(**NARROW | {"num_queries": 11}))


@pytest.fixture
def downloaded(home, monkeypatch, theirs):
    """A narrow checkpoint as mmdet saves it, whose checksum is the expected one."""
    monkeypatch.setattr(network, "config", lambda config=network.config: config(**NARROW))
    path = home / "downloaded.pth"
    torch.save({"meta": {"epoch": 50, "CLASSES": ("person",)}, "state_dict": theirs}, path)
    monkeypatch.setattr(convert, "SHA256", sha256_file(path)[:8])
    return path


def test_a_converted_file_lies_where_the_rewards_look(downloaded, theirs):
    with pytest.raises(WeightsError, match=r"are made on this machine.*convert-geneval-detector"):
        locate(convert.CONVERTED, {})
    written = convert.convert(downloaded)
    located = locate(convert.CONVERTED, {})
    assert located.path == written == made_path(convert.CONVERTED)
    assert located.source == f"made of {convert.URL}"
    convert.check_converted(written)
    expected = convert.to_hub(theirs)
    got = load_file(written)
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name]) for name in expected)


def test_another_file_is_not_converted(downloaded, home, monkeypatch):
    out = home / "out.safetensors"
    with pytest.raises(InputError, match="there is no file"):
        convert.convert(home / "none.pth", out)
    monkeypatch.setattr(convert, "SHA256", "743b7d99")
    with pytest.raises(InputError, match=r"is not GenEval's detector: its sha256 is .*743b7d99"):
        convert.convert(downloaded, out)
    assert not out.exists()


def test_a_checkpoint_that_could_run_code_is_refused(home, monkeypatch):
    path = home / "code.pth"
    torch.save({"state_dict": {}, "meta": {"run": print}}, path)
    monkeypatch.setattr(convert, "SHA256", sha256_file(path)[:8])
    with pytest.raises(WeightsError, match="holds more than plain tensors"):
        convert.convert(path, home / "out.safetensors")


def test_what_does_not_load_is_not_written(home, monkeypatch, theirs):
    path, out = home / "small.pth", home / "out.safetensors"
    torch.save({"state_dict": theirs}, path)
    monkeypatch.setattr(convert, "SHA256", sha256_file(path)[:8])
    with pytest.raises(WeightsError, match="does not fit"):
        convert.convert(path, out)
    assert not out.exists()


def test_weights_that_were_not_converted_do_not_go_by_genevals_name(downloaded, home):
    other = home / "metas.safetensors"
    save_file({"x": torch.zeros(1)}, other)
    for path in (other, downloaded):
        with pytest.raises(WeightsError, match=r"is not GenEval's converted detector.*geneval-hf"):
            convert.check_converted(path)
