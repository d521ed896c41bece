"""The card of a reward: what it needs, what it returns, where it comes from. Data, no code.

`rewardkit list` and `rewardkit show` read cards, the scorer obeys them, results record them.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rewardkit.engine.preprocess import Steps
from rewardkit.media.batch import Kind
from rewardkit.weights.pins import PinnedFile, Snapshot


class EncoderSpec(BaseModel):
    """A CLIP-like encoder: two specs that are equal are loaded and run once.

    Attributes:
        architecture: an open_clip model name. OpenAI's and DFN's weights were trained with
            QuickGELU and need a `-quickgelu` architecture: with GELU they load and score wrongly.
            None: the config lies beside the weights, in a snapshot of open_clip or transformers,
            or in a folder of a package that transformers' `CLIPModel` was saved to.
        weights: the checkpoint.
        preprocess: from a uint8 picture to the network's input.
        library: the one the checkpoint was made with: its names of tensors, and its cleaning of
            prompts before they are cut into tokens. The network itself is open_clip's.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str | None
    weights: PinnedFile | Snapshot
    preprocess: Steps
    library: Literal["open_clip", "transformers"] = "open_clip"

    @model_validator(mode="after")
    def _described(self) -> Self:
        # Of a pinned file on the hub what lies beside it is not downloaded.
        packaged = self.weights.host == "package" and self.library == "transformers"
        if self.architecture is None and not (isinstance(self.weights, Snapshot) or packaged):
            raise ValueError(
                f"{self.weights.name}: name its architecture; only a snapshot, or a folder of "
                "transformers in a package, says its own"
            )
        return self


class PublishedScore(BaseModel):
    """A score that upstream has published, or that its rule gives, and how to compute it again.

    Attributes:
        picture: file name of the picture.
        sha256: of that file.
        url: where the file can be fetched: an address that names a commit, so that it stays; or
            package:NAME/FILE for one that an installed package carries.
        prompt: the prompt it was scored with; None where the reward takes none.
        value: the published score, in the reward's own unit.
        tolerance: how far a correct computation may be from it.
        source: address of the text that states the value, or of the code that defines it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    picture: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    url: str
    prompt: str | None
    value: float
    tolerance: float = Field(gt=0)
    source: str


class RewardCard(BaseModel):
    """Everything about a reward but its code.

    Attributes:
        name: `family.tag`, split at the first dot, or a bare family.
        summary: one sentence saying what a higher score means.
        inputs: the kinds of media it takes.
        needs_prompt: whether a sample without a prompt cannot be scored.
        prompt_key: a key of the prompt's line that can take the place of a needed prompt; None
            where none can.
        needs_meta: keys a sample's manifest line must have.
        needs_references: names of the reference media a sample must have, such as "first_frame".
        needs_endpoint: whether it calls a service, whose address has to be given.
        fps: how many frames of a clip it looks at in a second, chosen as `Sample.frames` says where
            notes say nothing else; None where it looks at every frame, or takes no clips.
        batch_size: the largest number of samples it should score at once; None where there is no
            such limit.
        differentiable: whether the score has a gradient to the pixels: its extractor is a
            `DifferentiableExtractor`, and `score` is a differentiable function of its features.
        unit: of the score ("cosine", "kB", "pixels per …").
        range: the lowest and highest possible score; None where unbounded.
        typical: where scores of ordinary media lie, where that is known, with its source in notes.
        texts: fixed texts that the picture is compared with.
        encoder: the shared encoder it reads features from; None where it computes its own.
        preprocess: from a picture to the input of its own network, where it has no encoder.
        weights: files and snapshots it loads beside the encoder's.
        licence_code: of the upstream code the reward follows; "Apache-2.0" where it is our own.
        paper: address of the paper that defines it.
        upstream: permalink to the code it is tested against.
        trained_on: data its weights were trained on.
        published: scores known from upstream; `rewardkit verify` recomputes them.
        notes: traps, conventions, differences from upstream, each one sentence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    inputs: tuple[Kind, ...] = Field(min_length=1)
    needs_prompt: bool = False
    prompt_key: str | None = None
    needs_meta: tuple[str, ...] = ()
    needs_references: tuple[str, ...] = ()
    needs_endpoint: bool = False
    fps: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, ge=1)
    differentiable: bool = False
    unit: str
    range: tuple[float | None, float | None]
    typical: tuple[float, float] | None = None
    texts: tuple[str, ...] = ()
    encoder: EncoderSpec | None = None
    preprocess: Steps = ()
    weights: tuple[PinnedFile | Snapshot, ...] = ()
    licence_code: str = "Apache-2.0"
    paper: str | None = None
    upstream: str | None = None
    trained_on: tuple[str, ...] = ()
    published: tuple[PublishedScore, ...] = ()
    notes: tuple[str, ...] = ()
    # Scores are always "higher is better"; the field exists so that nobody has to ask.
    direction: Literal["higher is better"] = "higher is better"

    @model_validator(mode="after")
    def _sampled(self) -> Self:
        if self.fps is not None and "video" not in self.inputs:
            raise ValueError(f"{self.name}: fps is for clips, and it takes {self.takes}")
        return self

    @property
    def family(self) -> str:
        """The part of the name before the first dot."""
        return self.name.partition(".")[0]

    @property
    def takes(self) -> str:
        """The kinds of media it takes, for people."""
        return " and ".join({"image": "images", "video": "videos"}[kind] for kind in self.inputs)

    @property
    def all_weights(self) -> tuple[PinnedFile | Snapshot, ...]:
        """All weights that the reward loads, the encoder's first."""
        return ((self.encoder.weights,) if self.encoder else ()) + self.weights
