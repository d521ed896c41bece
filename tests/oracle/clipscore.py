"""Golden file of clipscore.* by its authors' code; arguments: clones of it and of openai/CLIP."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import openai_clip
import torch
import torchvision
from golden.clip import cases, media, texts
from golden.prompted import PromptedGolden
from pictures import pil

torch.set_num_threads(1)
clone, clip_clone = sys.argv[1:]
model, _, _ = openai_clip.load(clip_clone, 512)
# BLEU, SPICE and others, which need Java and are not used here.
sys.modules["generation_eval_utils"] = ModuleType("generation_eval_utils")
spec = importlib.util.spec_from_file_location("upstream", Path(clone, "clipscore.py"))
upstream = importlib.util.module_from_spec(spec)
spec.loader.exec_module(upstream)
# Its worker processes would each import this script again.
loader = torch.utils.data.DataLoader
torch.utils.data.DataLoader = lambda data, **others: loader(data, **others | {"num_workers": 0})
file = Path(tempfile.mkdtemp(), "picture.png")


def saved(image: torch.Tensor) -> list[str]:
    pil(image).save(file)
    return [str(file)]


def score(image: torch.Tensor, text: str) -> float:
    return float(upstream.get_clip_score(model, saved(image), [text], "cpu")[0])


# Most cosines of a random network are below 0 and score 0: every picture once more, with the prompt
# that fits it best.
best = [max(texts(), key=lambda text: score(image, text)) for image in media()]
head = ["git", "-C", clone, "rev-parse", "HEAD"]
PromptedGolden(
    reward="clipscore.vit-b-32",
    upstream=f"jmhessel/clipscore@{subprocess.check_output(head, text=True).strip()} clipscore.py",
    command="PYTHONPATH=.:tests python tests/oracle/clipscore.py CLONE CLIP_CLONE",
    versions={"torch": torch.__version__, "torchvision": torchvision.__version__},
    layout=openai_clip.published_layout(),
    cases=cases(
        [*media(), *media()],
        [*texts(), *best],
        lambda image: upstream.CLIPImageDataset(saved(image))[0]["image"],
        lambda text: upstream.CLIPCapDataset([text])[0]["caption"].tolist(),
        score,
    ),
).write()
