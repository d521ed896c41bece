"""Golden file of GenEval's detector by mmdet's own code; the arguments are unpacked sources.

    pip download --no-deps mmdet==2.28.2
    pip download --no-deps --no-binary :all: mmcv==1.7.2

The compiled part of mmcv is left out: on the CPU its deformable attention is plain torch. Beside
rewardkit's environment this needs addict, matplotlib, pycocotools, six, terminaltables and yapf.
"""

from __future__ import annotations

import sys
import tempfile
import types
from pathlib import Path

import cv2
import torch
from golden.mask2former import (
    NARROW,
    DetectorGolden,
    Instances,
    Logits,
    Pixels,
    cases,
    inputs,
    instances_of,
    logits_of,
    media,
    rounded,
    sample,
    weights,
)
from golden.prompted import layout
from pictures import pil

torch.set_num_threads(1)
mmdet_source, mmcv_source = (Path(argument) for argument in sys.argv[1:])


class Compiled(types.ModuleType):
    """Stands for mmcv's compiled part: every name is there, none is called."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


sys.modules["mmcv._ext"] = Compiled("mmcv._ext")
sys.path[:0] = [str(mmdet_source), str(mmcv_source)]
import mmcv
import mmdet
from mmdet.datasets.pipelines import Compose
from mmdet.models import build_detector

CONFIG = "mask2former/mask2former_swin-s-p4-w7-224_lsj_8x2_50e_coco.py"
config = mmcv.Config.fromfile(mmdet_source / "mmdet/.mim/configs" / CONFIG)
config.model.train_cfg = None
config.model.backbone.init_cfg = None


def narrow() -> mmcv.Config:
    """The same detector, narrower: NARROW in mmdet's words."""
    changed = mmcv.Config(config._cfg_dict.to_dict())
    backbone, head = changed.model.backbone, changed.model.panoptic_head
    swin, width = NARROW["swin"], NARROW["hidden_dim"]
    backbone.embed_dims = swin["embed_dim"]
    backbone.depths, backbone.num_heads = swin["depths"], swin["num_heads"]
    head.in_channels = [swin["embed_dim"] * 2**i for i in range(4)]
    head.strides = [4, 8, 16, 32]
    head.feat_channels = head.out_channels = width
    head.num_queries = NARROW["num_queries"]
    encoder = head.pixel_decoder.encoder
    encoder.num_layers = NARROW["encoder_layers"]
    encoder.transformerlayers.attn_cfgs.embed_dims = width
    encoder.transformerlayers.ffn_cfgs.embed_dims = width
    encoder.transformerlayers.ffn_cfgs.feedforward_channels = NARROW["encoder_feedforward_dim"]
    decoder = head.transformer_decoder
    decoder.num_layers = NARROW["decoder_layers"] - 1
    decoder.transformerlayers.attn_cfgs.embed_dims = width
    decoder.transformerlayers.ffn_cfgs.embed_dims = width
    decoder.transformerlayers.ffn_cfgs.feedforward_channels = NARROW["dim_feedforward"]
    decoder.transformerlayers.feedforward_channels = NARROW["dim_feedforward"]
    for encoding in (head.positional_encoding, head.pixel_decoder.positional_encoding):
        encoding.num_feats = width // 2
    return changed


def logits(model: torch.nn.Module) -> list[Logits]:
    """Of a detector with seeded weights, the last layer's."""
    model.load_state_dict(weights(model.state_dict()), strict=True)
    model.eval()
    found = []
    for pixels in inputs():
        with torch.no_grad():
            classes, masks = model.panoptic_head(model.extract_feat(pixels), [{}] * len(pixels))
        found.append(logits_of(classes[-1], masks[-1]))
    return found


def instances(head: torch.nn.Module) -> list[Instances]:
    """What mmdet makes of seeded logits: upsampling as its head does, then its fusion head."""
    found = []
    for classes, masks, resized, size in cases():
        filled = [4 * side for side in masks.shape[1:]]
        upsampled = torch.nn.functional.interpolate(
            masks[None], size=filled, mode="bilinear", align_corners=False
        )
        meta = [{"img_shape": (*resized, 3), "ori_shape": (*size, 3)}]
        (result,) = head.simple_test(classes[None], upsampled, meta, rescale=True)
        found.append(instances_of(*result["ins_results"]))
    return found


def pixels() -> list[Pixels]:
    """What mmdet's pipeline for testing makes of files."""
    load, augment = config.data.test.pipeline
    steps = augment["transforms"]
    for step in steps:
        if step["type"] == "Resize":
            step["img_scale"] = augment["img_scale"]
    upright = [step for step in steps if step["type"] in ("Resize", "Pad", "Normalize")]
    whole, first = Compose([load, *upright]), Compose([load, upright[0]])
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        for picture in media():
            pil(picture).save(path)
            file = {"img_info": {"filename": str(path)}, "img_prefix": None}
            resized, made = (
                torch.from_numpy(pipeline(dict(file))["img"].copy()).permute(2, 0, 1)
                for pipeline in (first, whole)
            )
            found.append(
                Pixels(
                    resized=list(resized.shape[1:]),
                    levels=sample(resized.flip(0)).tolist(),  # from BGR
                    input=list(made.shape[1:]),
                    normalised=rounded(sample(made)),
                )
            )
    return found


published = build_detector(config.model)
DetectorGolden(
    upstream=f"mmdet {mmdet.__version__}, {CONFIG}; mmcv {mmcv.__version__}",
    command="PYTHONPATH=.:tests python tests/oracle/geneval_detector.py MMDET MMCV",
    versions={"torch": torch.__version__, "opencv": cv2.__version__},
    layout=layout(published.state_dict()),
    narrow=logits(build_detector(narrow().model)),
    published=logits(published),
    instances=instances(published.panoptic_fusion_head),
    pixels=pixels(),
).write()
