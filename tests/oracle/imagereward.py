"""Golden file of imagereward.v1 by upstream's own code; the argument is a clone of its repository.

Upstream's BLIP imports names that transformers moved in 4.56, so this runs in an environment of its
own: torch, torchvision, "transformers<4.50", timm, fairscale, pydantic.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import PIL
import torch
import torchvision
import transformers
from golden.prompted import PromptedCase, PromptedGolden, fill, layout, sample
from pictures import PROMPTS, pil, twelve

from rewardkit.rewards.imagereward import TINY_VOCABULARY

torch.set_num_threads(1)
checkout = Path(sys.argv[1])
commit = subprocess.check_output(["git", "-C", checkout, "rev-parse", "HEAD"], text=True).strip()

# The packages' own __init__ would import a trainer and other scorers, with all that they need.
for name in ("ImageReward", "ImageReward.models"):
    package = ModuleType(name)
    package.__path__ = [str(checkout.joinpath(*name.split(".")))]
    sys.modules[name] = package
upstream = importlib.import_module("ImageReward.ImageReward")
blip = importlib.import_module("ImageReward.models.BLIP.blip")
pretrain = importlib.import_module("ImageReward.models.BLIP.blip_pretrain")

folder = Path(tempfile.mkdtemp())
(folder / "vocab.txt").write_text("\n".join(TINY_VOCABULARY) + "\n", encoding="utf-8")
from_vocabulary = transformers.BertTokenizer(str(folder / "vocab.txt"), model_max_length=512)
transformers.BertTokenizer.from_pretrained = lambda name: from_vocabulary

med_config = checkout / "train/src/config/med_config.json"
published = upstream.ImageReward(str(med_config), device="cpu").state_dict()

# The same network, narrower and with fewer layers.
config = json.loads(med_config.read_text("utf-8"))
config |= {"hidden_size": 48, "intermediate_size": 192, "num_attention_heads": 3}
config |= {"num_hidden_layers": 2, "vocab_size": len(TINY_VOCABULARY) + 2}
(folder / "med_config.json").write_text(json.dumps(config), encoding="utf-8")
narrow = {"embed_dim": 64, "depth": 2, "num_heads": 2, "drop_path_rate": 0.1}
pretrain.create_vit = lambda vit, image_size, *_: (
    blip.VisionTransformer(img_size=image_size, patch_size=16, **narrow),
    64,
)
head = upstream.MLP
upstream.MLP = lambda width: head(48)

model = upstream.ImageReward(str(folder / "med_config.json"), device="cpu")
model.load_state_dict(fill(model.state_dict()), strict=True)
model.eval()

cases = []
for index, picture in enumerate(twelve()):
    prompt = PROMPTS[index % len(PROMPTS)]
    tokens = model.blip.tokenizer(prompt, padding="max_length", truncation=True, max_length=35)
    cases.append(
        PromptedCase(
            picture=index,
            prompt=prompt,
            ids=tokens.input_ids,
            pixels=sample(model.preprocess(pil(picture))),
            score=model.score(prompt, pil(picture)),
        )
    )
PromptedGolden(
    reward="imagereward.v1",
    upstream=f"THUDM/ImageReward@{commit} ImageReward/ImageReward.py",
    command="PYTHONPATH=.:tests python tests/oracle/imagereward.py CLONE",
    versions={
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
    },
    layout=layout(published),
    cases=cases,
).write()
