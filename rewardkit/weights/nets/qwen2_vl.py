"""Qwen2-VL as a judge: numbers that a head reads where special tokens stand.

Wang et al. 2024, https://arxiv.org/abs/2409.12191. The network is transformers' own; around it are
the head, the positions that published judges were trained with, and the names of their tensors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from rewardkit.errors import WeightsError

#: A patch of the vision transformer: its side in pixels, and how many frames it spans.
PATCH, FRAMES = 14, 2
#: Patches side by side that become one token of the language model: 2 x 2.
MERGED = 2
EMBEDDING = "language_model.embed_tokens.weight"
_INPUTS = {
    "image": ("pixel_values", "image_grid_thw"),
    "video": ("pixel_values_videos", "video_grid_thw"),
}
# In any order of prefixes: peft's, and that of the class with a language head.
_PREFIX = re.compile(r"^(base_model\.model\.)?(model\.)?")
_ADAPTER = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")


class QwenJudge(nn.Module):
    """What a head says of media and texts.

    The head stays float32 whatever the rest is cast to.

    Args:
        model: a transformers `Qwen2VLModel`: the network without its language head.
        head: from its hidden state `[..., width]` to numbers `[..., outputs]`.
    """

    def __init__(self, model: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.rm_head = head

    def forward(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        patches: torch.Tensor,
        grids: torch.Tensor,
        kind: Literal["image", "video"],
        asked: Sequence[int],
    ) -> torch.Tensor:
        """Numbers, float32 `[B, len(asked), outputs]`.

        Args:
            ids: of the tokens, padded on the right, `[B, L]`.
            mask: 1 where a token stands, 0 where padding does, `[B, L]`.
            patches: of all media in order, `[N, 1176]`; see `to_patches`.
            grids: of each medium the number of patches in time, height and width, `[B, 3]`.
            kind: of the media: which token stands for them.
            asked: the ids of the tokens where the head reads; each stands once in every text.
        """
        pixels, shapes = _INPUTS[kind]
        # One position for each token, on all three axes: judges are trained so, whereas the network
        # itself gives a token of a picture its place in time, height and width.
        positions = torch.arange(ids.shape[1], device=ids.device).expand(3, *ids.shape)
        states = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            **{pixels: patches, shapes: grids},
        ).last_hidden_state
        places = torch.stack([(ids == token).int().argmax(dim=1) for token in asked], dim=1)
        read = states.gather(1, places[..., None].expand(-1, -1, states.shape[-1]))
        return self.rm_head(read.float())


def to_patches(frames: torch.Tensor) -> torch.Tensor:
    """Frames as the vision transformer reads them: `[F/2 * h/14 * w/14, 3 * 2 * 14 * 14]`.

    The four patches that become one token follow each other.

    Args:
        frames: normalised, float32 `[F, 3, h, w]`; F is even, h and w are multiples of 28.
    """
    number, _, height, width = frames.shape
    size = MERGED * PATCH
    x = frames.reshape(
        *(number // FRAMES, FRAMES, 3),
        *(height // size, MERGED, PATCH),
        *(width // size, MERGED, PATCH),
    )
    return x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * FRAMES * PATCH**2)


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a judge under the names of `Qwen2VLModel`, and `rm_head.*` for the head.

    Accepts the names of transformers before 4.52 (`visual.*`, `model.layers.*`) and after it
    (`model.visual.*`, `model.language_model.layers.*`), bare or inside a model of peft. The
    language head is left out: nothing reads it.
    """
    names: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        name = _PREFIX.sub("", key).replace(".base_layer.", ".")
        if name == "lm_head.weight":
            continue
        if not name.startswith(("visual.", "language_model.", "rm_head.")):
            name = f"language_model.{name}"
        names[name] = tensor
    return names


def merged(
    state: Mapping[str, torch.Tensor], scale: float, dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """The tensors of `renamed` with its LoRA added, `W + scale * B @ A`, computed in float32.

    Raises:
        WeightsError: half of a LoRA is missing, or the matrix that it belongs to.
    """
    whole = {name: tensor for name, tensor in state.items() if not _ADAPTER.fullmatch(name)}
    halves: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        if found := _ADAPTER.fullmatch(name):
            halves.setdefault(f"{found[1]}.weight", {})[found[2]] = tensor
    for name, pair in halves.items():
        if len(pair) < 2 or name not in whole:
            raise WeightsError(
                f"the LoRA of {name} lacks its {'matrix' if len(pair) == 2 else 'other half'}"
            )
        down, up = pair["A"].float(), pair["B"].float()
        whole[name] = torch.addmm(whole[name].float(), up, down, alpha=scale).to(dtype)
    return whole
