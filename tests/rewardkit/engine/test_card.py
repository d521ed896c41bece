"""A card that could not be obeyed is refused when it is written."""

import pydantic
import pytest

from rewardkit.engine.card import EncoderSpec
from rewardkit.weights.pins import PinnedFile


def encoder(host, library, architecture=None):
    files = ("a/model.safetensors",)
    weights = PinnedFile(name="mine", repo="us/mine", host=host, files=files, licence="MIT")
    return EncoderSpec(architecture=architecture, weights=weights, preprocess=(), library=library)


@pytest.mark.parametrize(
    ("host", "library"), [("hub", "transformers"), ("package", "open_clip"), ("hub", "open_clip")]
)
def test_only_a_folder_of_transformers_in_a_package_says_its_own_architecture(host, library):
    with pytest.raises(pydantic.ValidationError, match="mine: name its architecture"):
        encoder(host, library)
    assert encoder(host, library, "ViT-B-32").architecture == "ViT-B-32"
    assert encoder("package", "transformers").architecture is None
