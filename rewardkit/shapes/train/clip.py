"""`shapes-clip`: a small CLIP trained on scenes and captions, with hard negative captions."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

from rewardkit.shapes.detect import DetectedShape
from rewardkit.shapes.judge import correct
from rewardkit.shapes.prompts import TASKS, Split, balanced, parse, prompts, scene
from rewardkit.shapes.train.autoencoder import to_network
from rewardkit.shapes.train.flow import text_config
from rewardkit.shapes.train.loop import Schedule, Training, draw
from rewardkit.shapes.train.words import MAX_LENGTH, tokenizer
from rewardkit.shapes.world import SIZE, Thing, render

_SHARES = {
    "single_object": 0.06,
    "two_object": 0.16,
    "counting": 0.12,
    "colors": 0.12,
    "position": 0.3,
    "color_attr": 0.24,
}


class ClipTraining(Training):
    """Zhai et al. 2023, https://arxiv.org/abs/2303.15343: a sigmoid loss for image-caption pairs.

    Every image of a batch is compared with all captions of the batch and with a similar caption of
    each. The judge decides which pairs match, so a caption that happens to match is not a negative.
    """

    name = "shapes-clip"
    schedule = Schedule(steps=1200, batch=64, lr=1e-3, evaluate_every=400)
    data = "rendered scenes of training prompts, a new one each time"

    def __init__(self) -> None:
        self.tokenizer = tokenizer(Path(tempfile.mkdtemp()))
        vision = CLIPVisionConfig(
            image_size=SIZE,
            patch_size=8,
            hidden_size=96,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=6,
        )
        config = CLIPConfig(
            text_config=text_config(self.tokenizer, 64, 3).to_dict(),
            vision_config=vision.to_dict(),
            projection_dim=64,
        )
        self.clip: Any = CLIPModel(config)
        # Used by the loss only: the cosine needs no bias.
        self.bias = nn.Parameter(torch.tensor(-2.0))
        bias = nn.ParameterList([self.bias])
        self.modules = nn.ModuleDict({"clip": self.clip, "bias": bias})

    def loss(self, rng: np.random.Generator, noise: torch.Generator) -> torch.Tensor:
        """Ten times the weighted mean of the sigmoid loss over all pairs of images and captions."""
        captions, scenes = draw(self.schedule.batch, _SHARES, rng)
        captions += [str(rng.choice(near("train")[caption])) for caption in captions]
        match = torch.tensor(
            [[correct(parse(caption), _seen(things)) for caption in captions] for things in scenes]
        )
        cosines = _cosines(self.clip, self.tokenizer, render(scenes), captions)
        logits = cosines * self.clip.logit_scale.exp() + self.bias
        signs = torch.where(match, 1.0, -1.0)
        terms = -F.logsigmoid(signs * logits)
        # Matching pairs and hard negatives are more informative than random pairs.
        weight = torch.ones_like(terms)
        own = torch.arange(len(scenes))
        weight[own, own] = weight[own, own + len(scenes)] = 8.0
        return (terms * weight).sum() / weight.sum() * 10

    def evaluate(self, modules: nn.ModuleDict, samples: int) -> dict[str, float]:
        """Area under the curve: how often a matching caption scores above one that does not match.

        `auc` uses other held-out captions as negatives, `auc near` captions that differ from the
        matching one by a word or in their order.
        """
        captions = balanced("held-out", samples // len(TASKS))
        rng = np.random.default_rng(0)
        scenes = [scene(parse(caption), rng) for caption in captions]
        rivals = [str(rng.choice(near("held-out")[caption])) for caption in captions]
        others = [captions[i] for i in rng.permutation(len(captions))]
        everything = list(dict.fromkeys(captions + rivals))
        column = {caption: i for i, caption in enumerate(everything)}
        with torch.no_grad():
            cosines = _cosines(modules["clip"], self.tokenizer, render(scenes), everything).numpy()

        def of(chosen: list[str]) -> np.ndarray:
            return np.array([cosines[i, column[caption]] for i, caption in enumerate(chosen)])

        wrong = np.array(
            [
                not correct(parse(other), _seen(things))
                for other, things in zip(others, scenes, strict=True)
            ]
        )
        right = of(captions)
        return {
            "auc": _auc(right, of(others)[wrong]),
            "auc near": _auc(right, of(rivals)),
            "cosine of a match": float(right.mean()),
            "spread of a match": float(right.std()),
        }

    def save(self, modules: nn.ModuleDict, folder: Path) -> None:
        """A folder for `CLIPModel`, with its tokenizer."""
        clip: Any = modules["clip"]
        clip.half().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


@cache
def near(split: Split) -> dict[str, tuple[str, ...]]:
    """For each prompt, the prompts of its split that ask for something else in similar words.

    Similar prompts differ in one word or have the same words in another order. If a split has none,
    these are all other prompts of the task.
    """
    table = {}
    for of_task in prompts(split).values():
        for prompt in of_task:
            combination = parse(prompt).combination
            words = prompt.split()
            others = [other for other in of_task if parse(other).combination != combination]
            close = [other for other in others if _close(words, other.split())]
            table[prompt] = tuple(close or others)
    return table


def _close(words: list[str], others: list[str]) -> bool:
    if len(words) != len(others):
        return False
    changed = sum(word != other for word, other in zip(words, others, strict=True))
    return changed == 1 or sorted(words) == sorted(others)


def _seen(things: Sequence[Thing]) -> list[DetectedShape]:
    return [DetectedShape(thing.shape, thing.colour, thing.box, 1.0) for thing in things]


def _cosines(clip: Any, words: Any, pictures: np.ndarray, captions: list[str]) -> torch.Tensor:
    """Cosines, float32 `[images, captions]`."""
    tokens = words(captions, padding="max_length", max_length=MAX_LENGTH, return_tensors="pt")
    image = clip.visual_projection(clip.vision_model(to_network(pictures)).pooler_output)
    text = clip.text_projection(clip.text_model(tokens.input_ids).pooler_output)
    return F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T


def _auc(right: np.ndarray, wrong: np.ndarray) -> float:
    """How often a score of `right` is above one of `wrong`; ties count half."""
    ranked = np.sort(wrong)
    below = np.searchsorted(ranked, right, side="left")
    upto = np.searchsorted(ranked, right, side="right")
    return float((below + upto).mean() / (2 * len(wrong)))
