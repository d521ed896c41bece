"""Generators that have a name here: where each is, and the protocol it is sampled with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rewardkit.generators.protocol import Protocol


class Alias(BaseModel):
    """A name for a generator.

    Attributes:
        name: accepted in upper and lower case.
        pipeline: its class in diffusers, which is its family.
        repo: owner/name on the hub; None where it is in the package.
        revision: commit of the repository, so that the name means one model on every machine.
        parts: repositories that hold one part of the pipeline each, at their top, in place of the
            folder of that name in `repo`. Their newest commits are taken.
        folder: inside the package `rewardkit.shapes`; None where it is on the hub.
        licence: of the weights.
        protocol: the one its authors sample with; None where the folder carries its own.
        dtype: of its networks by default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pipeline: str
    repo: str | None = None
    revision: str | None = Field(default=None, pattern="^[0-9a-f]{40}$")
    parts: Mapping[str, str] = {}
    folder: str | None = None
    licence: str
    protocol: Protocol | None = None
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        if (self.repo is None) == (self.folder is None):
            raise ValueError(f"{self.name} is on the hub or in the package: give repo or folder")
        if (self.repo is None) != (self.revision is None):
            raise ValueError(f"{self.name}: a repository is pinned by its revision")
        if self.parts and self.repo is None:
            raise ValueError(f"{self.name}: parts stand beside a repository, and there is none")
        return self

    @property
    def source(self) -> str:
        """Where it is, in words that are the same on every machine."""
        if self.repo is None:
            return f"package:rewardkit.shapes/{self.folder}"
        return self.repo + "".join(f", {part} of {repo}" for part, repo in self.parts.items())

    @property
    def place(self) -> str | Path:
        """The repository on the hub, or the folder on this machine."""
        if self.folder is None:
            assert self.repo is not None
            return self.repo
        return Path(str(files("rewardkit.shapes").joinpath(self.folder)))


_STABILITY = "Stability AI Community License"
_HUNYUAN = ("hunyuanvideo-community/HunyuanVideo", "e8c2aaa66fe3742a32c11a6766aecbf07c56e773")
# What Wan is sampled with in diffusers, pipelines/wan/pipeline_wan.py: the defaults of the call and
# the negative prompt of its example. The rate is that of the example.
_WAN: dict[str, Any] = {
    "steps": 50,
    "guidance": 5.0,
    "negative_prompt": (
        "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, "
        "images, static, overall gray, worst quality, low quality, JPEG compression residue, ugly, "
        "incomplete, extra fingers, poorly drawn hands, poorly drawn faces, deformed, disfigured, "
        "misshapen limbs, fused fingers, still picture, messy background, three legs, many people "
        "in the background, walking backwards"
    ),
    "height": 480,
    "width": 832,
    "frames": 81,
    "fps": 16.0,
    "max_sequence_length": 512,
}

# Commits are the heads of the repositories' main branches, each found in several public projects
# that pin it. Protocols are those of the model cards, as the comments say.
_ALL = (
    Alias(
        name="shapes-sd",
        pipeline="StableDiffusionPipeline",
        folder="weights/shapes-sd",
        licence="Apache-2.0",
    ),
    Alias(
        name="shapes-flow",
        pipeline="StableDiffusion3Pipeline",
        folder="weights/shapes-flow",
        licence="Apache-2.0",
    ),
    Alias(
        name="sd1.4",
        pipeline="StableDiffusionPipeline",
        repo="CompVis/stable-diffusion-v1-4",
        revision="133a221b8aa7292a167afc5127cb63fb5005638b",
        licence="CreativeML OpenRAIL-M",
        # The card calls the pipeline with its defaults.
        protocol=Protocol(steps=50, guidance=7.5, height=512, width=512),
    ),
    Alias(
        name="sd1.5",
        pipeline="StableDiffusionPipeline",
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        licence="CreativeML OpenRAIL-M",
        # The card calls the pipeline with its defaults.
        protocol=Protocol(steps=50, guidance=7.5, height=512, width=512),
    ),
    Alias(
        name="sdxl",
        pipeline="StableDiffusionXLPipeline",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        licence="CreativeML Open RAIL++-M",
        # The card calls the pipeline, without the refiner, with its defaults.
        protocol=Protocol(steps=50, guidance=5.0, height=1024, width=1024),
    ),
    Alias(
        name="sd3-medium",
        pipeline="StableDiffusion3Pipeline",
        repo="stabilityai/stable-diffusion-3-medium-diffusers",
        revision="ea42f8cef0f178587cf766dc8129abd379c90671",
        licence=_STABILITY,
        # The card gives steps and guidance; the rest are the pipeline's defaults.
        protocol=Protocol(steps=28, guidance=7.0, height=1024, width=1024, max_sequence_length=256),
        dtype="bfloat16",  # with T5 it takes 29 GiB in float32
    ),
    Alias(
        name="sd3.5-medium",
        pipeline="StableDiffusion3Pipeline",
        repo="stabilityai/stable-diffusion-3.5-medium",
        revision="b940f670f0eda2d07fbb75229e779da1ad11eb80",
        licence=_STABILITY,
        # The card gives steps and guidance; the rest are the pipeline's defaults.
        protocol=Protocol(steps=40, guidance=4.5, height=1024, width=1024, max_sequence_length=256),
        dtype="bfloat16",  # the card's; with T5 it takes 30 GiB in float32
    ),
    Alias(
        name="sd3.5-large",
        pipeline="StableDiffusion3Pipeline",
        repo="stabilityai/stable-diffusion-3.5-large",
        revision="ceddf0a7fdf2064ea28e2213e3b84e4afa170a0f",
        licence=_STABILITY,
        # The card gives steps and guidance; the rest are the pipeline's defaults.
        protocol=Protocol(steps=28, guidance=3.5, height=1024, width=1024, max_sequence_length=256),
        dtype="bfloat16",  # the card's; with T5 it takes 51 GiB in float32
    ),
    Alias(
        name="flux.1-dev",
        pipeline="FluxPipeline",
        repo="black-forest-labs/FLUX.1-dev",
        revision="3de623fc3c33e44ffbe2bad470d0f45bccf2eb21",
        licence="FLUX.1 [dev] Non-Commercial License",
        # All of it is on the card.
        protocol=Protocol(steps=50, guidance=3.5, height=1024, width=1024, max_sequence_length=512),
        dtype="bfloat16",  # the card's; in float32 its weights alone take 63 GiB
    ),
    Alias(
        name="flux.1-schnell",
        pipeline="FluxPipeline",
        repo="black-forest-labs/FLUX.1-schnell",
        revision="741f7c3ce8b383c54771c7003378a50191e9efe9",
        licence="Apache-2.0",
        # The card gives all but the size, the pipeline's default. This model has no guidance input;
        # the card's 0 says so.
        protocol=Protocol(steps=4, guidance=0.0, height=1024, width=1024, max_sequence_length=256),
        dtype="bfloat16",  # the card's; in float32 its weights alone take 63 GiB
    ),
    Alias(
        name="qwen-image",
        pipeline="QwenImagePipeline",
        repo="Qwen/Qwen-Image",
        revision="75e0b4be04f60ec59a75f475837eced720f823b6",
        licence="Apache-2.0",
        # The card gives all but the length, the pipeline's default; the size is its square one. It
        # adds words on quality to each prompt, which are not added here.
        protocol=Protocol(
            steps=50,
            guidance=None,
            true_guidance=4.0,
            negative_prompt=" ",
            height=1328,
            width=1328,
            max_sequence_length=512,
        ),
        dtype="bfloat16",  # the card's; in float32 its weights alone take 107 GiB
    ),
    Alias(
        name="z-image",
        pipeline="ZImagePipeline",
        repo="Tongyi-MAI/Z-Image",
        revision="04cc4abb7c5069926f75c9bfde9ef43d49423021",
        licence="Apache-2.0",
        # The card gives all but the length, the pipeline's default.
        protocol=Protocol(steps=50, guidance=4.0, height=1280, width=720, max_sequence_length=512),
        dtype="bfloat16",  # the card's
    ),
    Alias(
        name="hunyuanvideo",
        pipeline="HunyuanVideoPipeline",
        repo=_HUNYUAN[0],
        revision=_HUNYUAN[1],
        licence="Tencent Hunyuan Community License",
        # The defaults of the call, and the rate of Tencent-Hunyuan/HunyuanVideo, hyvideo/config.py.
        protocol=Protocol(
            steps=50,
            guidance=6.0,
            height=720,
            width=1280,
            frames=129,
            fps=24,
            max_sequence_length=256,
        ),
        dtype="bfloat16",  # the card's
    ),
    Alias(
        name="skyreels-i2v",
        pipeline="HunyuanSkyreelsImageToVideoPipeline",
        repo=_HUNYUAN[0],
        revision=_HUNYUAN[1],
        # The repository holds a transformer alone. No public project was found that pins a commit
        # of it; what a run took is in its records.
        parts={"transformer": "Skywork/SkyReels-V1-Hunyuan-I2V"},
        licence="Tencent Hunyuan Community License and Skywork Community License",
        # Scales, negative prompt and steps are of the example in diffusers,
        # pipelines/hunyuan_video/pipeline_hunyuan_skyreels_image2video.py, the size and number of
        # frames the defaults of its call. The card's prompts begin with "FPS-24, ", which is not
        # added here.
        protocol=Protocol(
            steps=30,
            guidance=1.0,
            true_guidance=6.0,
            negative_prompt=(
                "Aerial view, aerial view, overexposed, low quality, deformation, a poor "
                "composition, bad hands, bad teeth, bad eyes, bad limbs, distortion"
            ),
            height=544,
            width=960,
            frames=97,
            fps=24,
            max_sequence_length=256,
        ),
        dtype="bfloat16",  # the example's
    ),
    Alias(
        name="wan2.1-1.3b",
        pipeline="WanPipeline",
        repo="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        revision="0fad780a534b6463e45facd96134c9f345acfa5b",
        licence="Apache-2.0",
        protocol=Protocol(**_WAN),
        dtype="bfloat16",  # the card's
    ),
    Alias(
        name="wan2.1-14b",
        pipeline="WanPipeline",
        repo="Wan-AI/Wan2.1-T2V-14B-Diffusers",
        revision="38ec498cb3208fb688890f8cc7e94ede2cbd7f68",
        licence="Apache-2.0",
        # It also makes 1280 x 720, for which diffusers' example sets flow_shift to 5, from 3.
        protocol=Protocol(**_WAN),
        dtype="bfloat16",  # the card's; in float32 the transformer alone takes 53 GiB
    ),
    Alias(
        name="wan2.2-5b",
        pipeline="WanPipeline",
        repo="Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        revision="b8fff7315c768468a5333511427288870b2e9635",
        licence="Apache-2.0",
        # Wan-Video/Wan2.2, wan/configs/wan_ti2v_5B.py: frames and rate, and the size of its README.
        protocol=Protocol(**_WAN | {"height": 704, "width": 1280, "frames": 121, "fps": 24.0}),
        dtype="bfloat16",  # the card's
    ),
)
ALIASES = {alias.name: alias for alias in _ALL}
