"""Golden file of pickscore.v1 by its README's code; arguments: clones of it and of openai/CLIP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
import transformers
import transformers_clip
from golden.clip import LARGE_TRANSFORMERS, cases, media, texts
from golden.prompted import PromptedGolden, layout
from pictures import pil
from transformers import AutoModel, AutoProcessor, CLIPConfig, CLIPImageProcessor, CLIPModel

torch.set_num_threads(1)
clone, clip_clone = sys.argv[1:]
path = transformers_clip.folder(clip_clone, 1024, "gelu")
processor = AutoProcessor.from_pretrained(path)
# The one there was in upstream's transformers 4.27, on PIL; there is another one since.
processor.image_processor = CLIPImageProcessor.from_pretrained(path)
model = AutoModel.from_pretrained(path).eval()
code = re.search(r"\ndef calc_probs.*?\n(?=\S)", Path(clone, "README.md").read_text(), re.DOTALL)[0]
# The scores before the softmax over the pictures of one prompt.
code, replaced = re.subn(r"return probs\.cpu\(\)\.tolist\(\)", "return scores.tolist()", code)
assert replaced == 1
namespace = {"processor": processor, "model": model, "torch": torch, "device": "cpu"}
exec(code, namespace)
with torch.device("meta"):
    published = CLIPModel(CLIPConfig(**LARGE_TRANSFORMERS))

head = ["git", "-C", clone, "rev-parse", "HEAD"]
commit = subprocess.check_output(head, text=True).strip()
PromptedGolden(
    reward="pickscore.v1",
    upstream=f"yuvalkirstain/PickScore@{commit} README.md",
    command="PYTHONPATH=.:tests python tests/oracle/pickscore.py CLONE CLIP_CLONE",
    versions={"torch": torch.__version__, "transformers": transformers.__version__},
    layout=layout(published.state_dict()),
    cases=cases(
        media(),
        texts(),
        lambda image: processor(images=[pil(image)], return_tensors="pt")["pixel_values"][0],
        lambda text: processor(text=text, truncation=True, max_length=77)["input_ids"],
        lambda image, text: namespace["calc_probs"](text, [pil(image)])[0],
    ),
).write()
