"""Golden file of clip-iqa.* by torchmetrics on a CLIP of transformers; argument: openai/CLIP.

A case is one pair: its two texts are the prompt's lines, and `ids` is both, one after the other.
"""

from __future__ import annotations

import sys

import torch
import torchmetrics
import torchmetrics.functional.multimodal.clip_iqa as upstream
import transformers
import transformers_clip
from golden.prompted import PromptedCase, PromptedGolden, layout, sample
from pictures import pil, twelve
from transformers import CLIPModel, CLIPProcessor

torch.set_num_threads(1)
(clip_clone,) = sys.argv[1:]
path = transformers_clip.folder(clip_clone, 768, "quick_gelu")
model = CLIPModel.from_pretrained(path).eval()
processor = CLIPProcessor.from_pretrained(path)
upstream._get_clip_iqa_model_and_processor = lambda name: (model, processor)


def score(image: torch.Tensor, pair: tuple[str, str]) -> float:
    # data_range is 1 for values in 0..255, since the processor divides by 255 once more.
    images, name = image[None].float(), "openai/clip-vit-large-patch14"
    return float(upstream.clip_image_quality_assessment(images, name, 1.0, (pair,)))


cases = []
for number, pair in enumerate([*upstream._PROMPTS.values(), ("Photo of a cat.", "A dog?")]):
    index = number % 12
    image = twelve()[index]
    cases.append(
        PromptedCase(
            picture=index,
            prompt="\n".join(pair),
            ids=[id for text in pair for id in processor(text=text)["input_ids"]],
            pixels=sample(processor(images=[pil(image)], return_tensors="pt")["pixel_values"][0]),
            score=score(image, pair),
        )
    )
PromptedGolden(
    reward="clip-iqa.vit-l-14",
    upstream=f"torchmetrics=={torchmetrics.__version__} functional/multimodal/clip_iqa.py",
    command="PYTHONPATH=.:tests python tests/oracle/clip_iqa.py CLIP_CLONE",
    versions={"torch": torch.__version__, "transformers": transformers.__version__},
    layout=layout(model.state_dict()),
    cases=cases,
).write()
