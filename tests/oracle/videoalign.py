"""Golden file of videoalign.* by upstream's own inference code, on the CPU and in float32.

The arguments are a clone of KwaiVGI/VideoAlign and the folder of real clips. Upstream pins
transformers 4.45, so this runs in an environment of its own; see the Makefile.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import decord
import numpy as np
import peft
import torch
import torchvision
import transformers
from golden.media import render
from golden.prompted import layout
from golden.videoalign import (
    CLIPS,
    FILE,
    LORA,
    PUBLISHED,
    ROWS,
    TEXTS,
    Case,
    File,
    Golden,
    Sampling,
    Sized,
    some,
    write_base,
    write_checkpoint,
)
from oracle.upstream import commit
from transformers import Qwen2TokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLProcessor

from rewardkit.records.provenance import sha256_text

torch.set_num_threads(1)
clone, data = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(clone))
import inference
import train_reward
import utils
import vision_process
from prompt_template import DETAILED_PROMPT_WITH_SPECIAL_TOKEN as TEMPLATE

# The chat template of Qwen2-VL, as far as one video and one text need it.
CHAT = (
    "{% for message in messages %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def on_the_cpu(**settings: Any) -> utils.TrainingConfig:
    """Upstream's inference asks for flash attention, which is for GPUs."""
    return utils.TrainingConfig(**{**settings, "disable_flash_attn2": True, "use_cpu": True})


class Rendered:
    """A clip of `CLIPS` as decord's reader: no file holds its frames unchanged."""

    def __init__(self, path: str) -> None:
        self.clip = render(CLIPS[int(path.removeprefix("file://"))])

    def __len__(self) -> int:
        return len(self.clip.frames)

    def get_avg_fps(self) -> float:
        return self.clip.fps

    def get_batch(self, indices: list[int]) -> SimpleNamespace:
        chosen = self.clip.frames[indices].permute(0, 2, 3, 1).numpy()
        return SimpleNamespace(asnumpy=lambda: chosen)


def chosen(number: int, fps: float) -> list[int]:
    """The frames that upstream's reader takes, in its own words."""
    count = vision_process.smart_nframes({"fps": 2.0}, number, fps)
    return torch.linspace(0, number - 1, count).round().long().tolist()


def scores(paths: Iterable[str], texts: Iterable[str], normed: bool) -> list[list[float]]:
    """Scores of one batch: VQ, MQ, TA, and Overall where they are normed."""
    with torch.no_grad():
        answers = judge.reward(list(paths), list(texts), use_norm=normed)
    return [[a["VQ"], a["MQ"], a["TA"], *([a["Overall"]] if normed else [])] for a in answers]


work = Path(tempfile.mkdtemp())
base = work / "base"
settings = write_base(base, TEMPLATE)
tokenizer = Qwen2TokenizerFast.from_pretrained(base)
Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, chat_template=CHAT).save_pretrained(base)
Qwen2VLForConditionalGeneration(Qwen2VLConfig(**settings)).save_pretrained(base)
model, *_ = train_reward.create_model_and_processor(
    utils.ModelConfig(
        model_name_or_path=str(base), output_dim=3, use_special_tokens=True, reward_token="special"
    ),
    utils.PEFTLoraConfig(**LORA, lora_namespan_exclude=["lm_head", "rm_head", "embed", "visual"]),
    on_the_cpu(output_dir=""),
)
tensors = {name: list(value.shape) for name, value in model.state_dict().items()}
write_checkpoint(work / "checkpoint", str(base), tensors)

inference.TrainingConfig = on_the_cpu
judge = inference.VideoVLMRewardInference(
    str(work / "checkpoint"), device="cpu", dtype=torch.float32
)

# The published size, without memory for it: names and shapes of the file model.pth.
with torch.device("meta"):
    whole = train_reward.Qwen2VLRewardModelBT(
        Qwen2VLConfig(**PUBLISHED), output_dim=3, special_token_ids=[151_657, 151_658, 151_659]
    )
    whole.resize_token_embeddings(ROWS)
    names = train_reward.find_target_linear_names(
        whole, lora_namespan_exclude=["lm_head", "rm_head", "embed_tokens", "visual"]
    )
    whole = peft.get_peft_model(
        whole, peft.LoraConfig(target_modules=names, r=64, lora_alpha=128, task_type="CAUSAL_LM")
    )
published = whole.state_dict()

real_reader, decord.VideoReader = decord.VideoReader, Rendered
paths = [str(index) for index in range(len(CLIPS))]
cases = []
for path, text in zip(paths, TEXTS, strict=True):
    batch = judge.prepare_batch([path], [text])
    reader = Rendered(path)
    cases.append(
        Case(
            indices=chosen(len(reader), reader.get_avg_fps()),
            grid=batch["video_grid_thw"][0].tolist(),
            pixels=some(batch["pixel_values_videos"]),
            raw=scores([path], [text], normed=False)[0],
            normed=scores([path], [text], normed=True)[0],
            other_prompt=scores([path], ["something else"], normed=False)[0],
        )
    )
together = scores(paths, TEXTS, normed=False)
ids = judge.prepare_batch(paths, TEXTS)["input_ids"].tolist()

decord.VideoReader = real_reader
files = {}
for file in sorted([*data.glob("videoalign/*.mp4"), *data.glob("video/*.mp4")]):
    video = decord.VideoReader(str(file))
    batch = judge.prepare_batch([str(file)], [TEXTS[0]])
    files[str(file.relative_to(data))] = File(
        frames=len(video),
        fps=video.get_avg_fps(),
        indices=chosen(len(video), video.get_avg_fps()),
        pixels=some(batch["pixel_values_videos"]),
        raw=scores([str(file)], [TEXTS[0]], normed=False)[0],
        normed=scores([str(file)], [TEXTS[0]], normed=True)[0],
    )

samplings = []
for fps in (6.0, 8.0, 15.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 60.0):
    for number in (
        1,
        2,
        3,
        4,
        5,
        7,
        20,
        24,
        30,
        36,
        48,
        50,
        60,
        61,
        75,
        81,
        90,
        126,
        152,
        300,
        9001,
    ):
        try:
            samplings.append(Sampling(frames=number, fps=fps, indices=chosen(number, fps)))
        except ValueError as error:
            samplings.append(Sampling(frames=number, fps=fps, indices=[], error=str(error)))
random = np.random.RandomState(0)
before = [[720, 1280], [480, 832], [32, 32], [14, 14], [42, 70], [64, 720], [5600, 28], [448, 448]]
before += random.randint(16, 2000, (40, 2)).tolist()
sizes = [
    Sized(
        before=shape,
        after=list(
            vision_process.smart_resize(
                *shape, min_pixels=vision_process.VIDEO_MIN_PIXELS, max_pixels=200_704
            )
        ),
    )
    for shape in before
    if max(shape) <= 200 * min(shape)
]

golden = Golden(
    upstream=f"KwaiVGI/VideoAlign@{commit(clone)} inference.py",
    command="PYTHONPATH=.:tests python tests/oracle/videoalign.py CLONE DATA",
    versions={
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "decord": decord.__version__,
    },
    template_sha256=sha256_text(TEMPLATE),
    tensors=tensors,
    layout=layout(published),
    bytes=sum(2 * value.numel() for value in published.values()),
    cases=cases,
    ids=ids,
    batch=together,
    samplings=samplings,
    sizes=sizes,
    files=files,
)
FILE.write_text(golden.model_dump_json() + "\n", "utf-8")
