"""Goldens of hps.* by the package `hpsv2` itself, in an environment of its own.

The wheel lacks its vocabulary: put open_clip's bpe_simple_vocab_16e6.txt.gz into
hpsv2/src/open_clip/ first.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
import torchvision
from golden.clip import cases, media, texts, tiny
from golden.prompted import PromptedGolden, fill, layout
from pictures import pil

folder = Path(tempfile.mkdtemp())
os.environ["HPS_ROOT"] = str(folder)  # upstream makes this folder even where it is not used

from hpsv2 import img_score
from hpsv2.src.open_clip import factory, tokenizer, transform

torch.set_num_threads(1)
create = img_score.create_model_and_transforms
with torch.device("meta"):
    published, *_ = create("ViT-H-14", None, device="meta")
factory._MODEL_CONFIGS["ViT-H-14"] = tiny(1024)
# Upstream downloads LAION's weights first, and then replaces every one of them.
img_score.create_model_and_transforms = lambda name, _, **others: create(name, None, **others)
img_score.initialize_model()
preprocess = img_score.model_dict["preprocess_val"]
checkpoint = folder / "tiny.pt"
torch.save({"state_dict": fill(img_score.model_dict["model"].state_dict())}, checkpoint)


def pixels(image: torch.Tensor) -> torch.Tensor:
    """Upstream's pixels; padded by hand where upstream forgets to: a long side of exactly 224."""
    given = preprocess(pil(image))
    height, width = given.shape[1:]
    black = preprocess(pil(torch.zeros(3, 224, 224, dtype=torch.uint8)))
    top, left = (224 - height) // 2, (224 - width) // 2
    black[:, top : top + height, left : left + width] = given
    return black


def score(image: torch.Tensor, prompt: str, version: str) -> float:
    judge = partial(img_score.score, pil(image), prompt, cp=str(checkpoint), hps_version=version)
    if preprocess(pil(image)).shape[1:] == (224, 224):
        return float(judge()[0])
    with patch.dict(img_score.model_dict, preprocess_val=lambda _: pixels(image)):
        return float(judge()[0])


def write(reward: str, version: str) -> None:
    PromptedGolden(
        reward=reward,
        upstream=f"hpsv2=={importlib.metadata.version('hpsv2')} hpsv2/img_score.py",
        command="PYTHONPATH=.:tests python tests/oracle/hps.py",
        versions={"torch": torch.__version__, "torchvision": torchvision.__version__},
        layout=layout(published.state_dict()),
        cases=cases(
            media(),
            texts(),
            pixels,
            lambda text: tokenizer.tokenize([text])[0].tolist(),
            partial(score, version=version),
        ),
    ).write()


write("hps.v2.0", "v2.0")
write("hps.v2.1", "v2.1")
# torchvision's default before 0.17.
without = partial(transform.F.resize, antialias=False)
with patch.object(transform.F, "resize", without):
    write("hps.v2.1-2023", "v2.1")
