"""Golden file of hps.v3 by upstream's own inference code, on the CPU and in float32.

The argument is the folder of the package hpsv3, unpacked. Upstream pins transformers 4.45, so this
runs in the environment of VideoAlign's oracle; see the Makefile.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import torch
import torchvision
import transformers
from golden.hpsv3 import (
    FILE,
    PUBLISHED,
    ROWS,
    SIZES,
    TEXTS,
    HpsV3Golden,
    PictureCase,
    write_checkpoint,
)
from golden.prompted import layout
from golden.videoalign import some, write_base
from pictures import picture, pil
from safetensors.torch import load_file
from transformers import Qwen2TokenizerFast, Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl import Qwen2VLImageProcessor, Qwen2VLProcessor

from rewardkit.records.provenance import sha256_text

torch.set_num_threads(1)
package = Path(sys.argv[1])
# What its training alone needs is not there; the package's own __init__ asks for a GPU's libraries.
for name in ("fire", "matplotlib", "matplotlib.pyplot", "matplotlib.patches", "omegaconf"):
    sys.modules[name] = MagicMock(__spec__=ModuleSpec(name, None), __path__=[])
sys.modules["hpsv3"] = ModuleType("hpsv3")
sys.modules["hpsv3"].__path__ = [str(package / "hpsv3")]
from hpsv3 import inference, train
from hpsv3.dataset.data_collator_qwen import INSTRUCTION, prompt_with_special_token

TEMPLATE = INSTRUCTION + prompt_with_special_token
# The chat template of Qwen2-VL, as far as one image and one text need it.
CHAT = (
    "{% for message in messages %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The settings of HPSv3_7B.yaml, but for the device.
MODEL = SimpleNamespace(
    **dict.fromkeys(("load_in_8bit", "load_in_4bit"), False),
    torch_dtype="float32",
    model_revision="main",
    use_special_tokens=True,
    output_dim=2,
    reward_token="special",
    rm_head_type="ranknet",
    rm_head_kwargs=None,
)

work = Path(tempfile.mkdtemp())
base = work / "base"
settings = write_base(base, TEMPLATE) | {"tie_word_embeddings": False}
tokenizer = Qwen2TokenizerFast.from_pretrained(base)
Qwen2VLProcessor(Qwen2VLImageProcessor(), tokenizer, chat_template=CHAT).save_pretrained(base)
Qwen2VLForConditionalGeneration(Qwen2VLConfig(**settings)).save_pretrained(base)
MODEL.model_name_or_path = str(base)
model, processor, _ = train.create_model_and_processor(
    MODEL,
    SimpleNamespace(lora_enable=False),
    SimpleNamespace(disable_flash_attn2=True, bf16=False, fp16=False),
)
tensors = {name: list(value.shape) for name, value in model.state_dict().items()}
write_checkpoint(work / "HPSv3.safetensors", tensors)
model.load_state_dict(load_file(work / "HPSv3.safetensors"), strict=True)
judge = inference.HPSv3RewardInferencer.__new__(inference.HPSv3RewardInferencer)
judge.device, judge.use_special_tokens = "cpu", True
judge.model, judge.processor = model.eval(), processor

# The published size, without memory for it: names and shapes of HPSv3.safetensors.
with torch.device("meta"):
    whole = train.Qwen2VLRewardModelBT(
        Qwen2VLConfig(**PUBLISHED), output_dim=2, special_token_ids=[0], rm_head_type="ranknet"
    )
    whole.resize_token_embeddings(ROWS)
published = whole.state_dict()

paths = []
for index, size in enumerate(SIZES):
    paths.append(str(work / f"{index}.png"))
    pil(picture(index, *size)).save(paths[-1])
cases = []
with torch.no_grad():
    for path, text in zip(paths, TEXTS, strict=True):
        batch = judge.prepare_batch([path], [text])
        cases.append(
            PictureCase(
                grid=batch["image_grid_thw"][0].tolist(),
                pixels=some(batch["pixel_values"]),
                outputs=judge.reward([path], [text])[0].tolist(),
                other_prompt=judge.reward([path], ["something else"])[0].tolist(),
            )
        )
    together = judge.reward(paths, TEXTS).tolist()

golden = HpsV3Golden(
    upstream="hpsv3==1.0.0 hpsv3/inference.py",
    command="PYTHONPATH=.:tests python tests/oracle/hpsv3.py PACKAGE",
    versions={
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "transformers": transformers.__version__,
    },
    template_sha256=sha256_text(TEMPLATE),
    tensors=tensors,
    layout=layout(published),
    bytes=sum(
        (4 if name.startswith("rm_head.") else 2) * value.numel()
        for name, value in published.items()
    ),
    cases=cases,
    ids=judge.prepare_batch(paths, TEXTS)["input_ids"].tolist(),
    batch=together,
)
FILE.write_text(golden.model_dump_json() + "\n", "utf-8")
