"""Goldens of laion-aesthetic.* by both authors' code, on random heads.

Arguments: clones of LAION-AI/aesthetic-predictor, christophschuhmann/improved-aesthetic-predictor
and openai/CLIP.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import openai_clip
import torch
import torchvision
from golden.clip import cases, media
from golden.prompted import PromptedGolden, fill, layout
from pictures import pil
from torch import nn

torch.set_num_threads(1)
v1, v2, clip_clone = sys.argv[1:]
home = Path(tempfile.mkdtemp())
os.environ["HOME"] = str(home)


def commit(clone: str) -> str:
    # HOME is another one by now, where git finds no leave to read what belongs to somebody else.
    head = ["git", "-c", f"safe.directory={clone}", "-C", clone, "rev-parse", "HEAD"]
    return subprocess.check_output(head, text=True).strip()


def head_v1(name: str, width: int):
    """The README's get_aesthetic_model, which finds its file instead of downloading it."""
    cache = home / ".cache/emb_reader"
    cache.mkdir(parents=True, exist_ok=True)
    state = fill({"weight": torch.empty(1, width), "bias": torch.empty(1)})
    torch.save(state, cache / f"sa_0_4_{name}_linear.pth")
    code = re.search(r"```python\n(.*?)```", Path(v1, "README.md").read_text(), re.DOTALL)[1]
    namespace = {}
    exec(code, namespace)
    return namespace["get_aesthetic_model"](name)


def head_v2():
    """The script's MLP and `normalized`, cut out of it: the script itself wants a GPU."""
    tree = ast.parse(Path(v2, "simple_inference.py").read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", "") in ("MLP", "normalized")]
    namespace = {"nn": nn, "pl": SimpleNamespace(LightningModule=nn.Module)}
    exec(compile(tree, "simple_inference.py", "exec"), namespace)
    mlp = namespace["MLP"](768)
    mlp.load_state_dict(fill(mlp.state_dict()))
    return mlp.eval(), namespace["normalized"]


@torch.no_grad()
def write(tag: str, upstream: str, width: int, head: nn.Module, judge) -> None:
    model, preprocess, _ = openai_clip.load(clip_clone, width)
    PromptedGolden(
        reward=f"laion-aesthetic.{tag}",
        upstream=upstream,
        command="PYTHONPATH=.:tests python tests/oracle/laion_aesthetic.py V1 V2 CLIP_CLONE",
        versions={"torch": torch.__version__, "torchvision": torchvision.__version__},
        layout=layout(head.state_dict()),
        cases=cases(
            media(),
            [""] * len(media()),
            lambda image: preprocess(pil(image)),
            lambda _: [],
            lambda image, _: float(judge(model.encode_image(preprocess(pil(image))[None]))),
        ),
    ).write()


# The README loads the heads of ViT-B/32 and ViT-L/14; that of ViT-B/16 has the shape of the first.
for tag, name, width in [
    ("v1-b-16", "vit_b_32", 512),
    ("v1-b-32", "vit_b_32", 512),
    ("v1-l-14", "vit_l_14", 768),
]:
    linear = head_v1(name, width)
    write(
        tag,
        f"LAION-AI/aesthetic-predictor@{commit(v1)} README.md",
        width,
        linear,
        # As the notebook beside the README does it.
        lambda embedding, linear=linear: linear(embedding / embedding.norm(dim=-1, keepdim=True)),
    )
mlp, normalized = head_v2()
write(
    "v2",
    f"christophschuhmann/improved-aesthetic-predictor@{commit(v2)} simple_inference.py",
    768,
    mlp,
    lambda embedding: mlp(torch.from_numpy(normalized(embedding.numpy()))),
)
