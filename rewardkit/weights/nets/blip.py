"""BLIP as a judge: a BERT reads the prompt, looks at the picture in each layer, gives a number.

Li et al. 2022, https://arxiv.org/abs/2201.12086; with the head of ImageReward, Xu et al. 2023,
https://arxiv.org/abs/2304.05977. The vision transformer is timm's and the BERT transformers'; both
name their parameters as the published checkpoint does, so it loads without renaming.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import BlipTextConfig, BlipTextModel

# What the checkpoint holds and a score does not read: the projections of BLIP's contrastive
# pretraining, and the numbers 0..511.
_UNREAD = (
    "blip.vision_proj.weight",
    "blip.vision_proj.bias",
    "blip.text_proj.weight",
    "blip.text_proj.bias",
    "blip.text_encoder.embeddings.position_ids",
)
IMAGE_SIZE = 224


@dataclass(frozen=True)
class BlipSize:
    """The sizes that differ between a published BLIP and a small one for tests.

    Attributes:
        vocabulary: number of token ids.
        vision: width, layers and heads of the vision transformer.
        text: width, layers and heads of the BERT.
    """

    vocabulary: int
    vision: tuple[int, int, int]
    text: tuple[int, int, int]


LARGE = BlipSize(vocabulary=30_524, vision=(1024, 24, 16), text=(768, 12, 12))


def tiny(vocabulary: int) -> BlipSize:
    """A size for tests."""
    return BlipSize(vocabulary, vision=(64, 2, 2), text=(48, 2, 3))


class BlipJudge(nn.Module):
    """A number for a picture and a prompt.

    The head stays float32 whatever the rest is cast to by `cast`.
    """

    def __init__(self, size: BlipSize) -> None:
        super().__init__()
        vision_width, vision_layers, vision_heads = size.vision
        text_width, text_layers, text_heads = size.text
        vision = VisionTransformer(
            img_size=IMAGE_SIZE,
            patch_size=16,
            embed_dim=vision_width,
            depth=vision_layers,
            num_heads=vision_heads,
            num_classes=0,
            global_pool="",  # every token, not one of them
        )
        config = BlipTextConfig(
            vocab_size=size.vocabulary,
            hidden_size=text_width,
            intermediate_size=4 * text_width,
            num_hidden_layers=text_layers,
            num_attention_heads=text_heads,
            encoder_hidden_size=vision_width,
            is_decoder=True,  # builds the cross-attention; attention itself stays bidirectional
            # Overwritten by a checkpoint; with the default 0.02 a small random BERT hardly sees.
            initializer_range=text_width**-0.5,
            # Nothing is generated, and a small vocabulary has no such ids.
            bos_token_id=None,
            eos_token_id=None,
            sep_token_id=None,
        )
        text = BlipTextModel(config, add_pooling_layer=False)
        self.blip = nn.ModuleDict({"visual_encoder": vision, "text_encoder": text})
        # No activation between the layers: upstream has none, the head is an affine map. At 1, 3
        # and 5 stood dropout, and the checkpoint's keys count it.
        layers = nn.Sequential(
            nn.Linear(text_width, 1024),
            nn.Identity(),
            nn.Linear(1024, 128),
            nn.Identity(),
            nn.Linear(128, 64),
            nn.Identity(),
            nn.Linear(64, 16),
            nn.Linear(16, 1),
        )
        self.mlp = nn.ModuleDict({"layers": layers})

    def cast(self, device: torch.device, dtype: torch.dtype) -> BlipJudge:
        """Itself on `device`, all but the head in `dtype`."""
        self.blip.to(dtype)
        return self.to(device)

    def look(self, pixels: torch.Tensor) -> torch.Tensor:
        """Tokens of pictures `[B, 3, 224, 224]`: `[B, 197, width]`, the first stands for all."""
        return self.blip["visual_encoder"](pixels)

    def judge(self, seen: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Numbers, float32 `[B]`, of pictures already looked at and prompts.

        Args:
            seen: what `look` returned.
            ids: token ids of the prompts, `[B, L]`.
            mask: 1 where a token stands, 0 where padding does, `[B, L]`.
        """
        read = self.blip["text_encoder"](
            input_ids=ids, attention_mask=mask, encoder_hidden_states=seen
        )
        return self.mlp["layers"](read.last_hidden_state[:, 0].float())[:, 0]


def without_unread(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The published checkpoint without the few tensors that a score does not read."""
    return {key: value for key, value in state.items() if key not in _UNREAD}
