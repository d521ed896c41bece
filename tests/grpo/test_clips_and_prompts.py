"""Clip and prompt are never crossed: from the rollout to the reward, the sheet and the page."""

import hashlib
import json

import numpy as np
import pytest
import tiny_runs
import tiny_videos
import torch
from PIL import Image

from grpo import evaluation, trainer
from grpo.rewards import Rewards
from grpo.sample import sample
from grpo.train import train
from leaderboards.assemble import leaderboard
from leaderboards.page.runs import read_runs
from leaderboards.page.site import build
from rewardkit.media.batch import Clip
from rewardkit.media.clips import read_clip
from rewardkit.media.images import to_pil
from rewardkit.media.prompts import PromptLine

PROMPTS = ["a red ring moves left", "two boxes", "a star", "nothing at all"]
# A score that another clip or another prompt would not have; a caption shows all of its digits.
JUDGE = """
import hashlib

def judge(batch):
    return [
        int(hashlib.sha256(clip.frames.numpy().tobytes() + prompt.encode()).hexdigest()[:2], 16)
        for clip, prompt in zip(batch.media, batch.prompts, strict=True)
    ]
"""


def judged(clip, prompt):
    """The same score, written again."""
    digest = hashlib.sha256(clip.frames.numpy().tobytes() + prompt.encode())
    return float(int(digest.hexdigest()[:2], 16))


@pytest.fixture
def reward(tmp_path):
    (tmp_path / "own.py").write_text(JUDGE)
    return f"{tmp_path}/own.py:judge"


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_clips_of_any_lengths_and_sizes_are_scored_with_their_own_prompts(reward, batch_size):
    from grpo.config.fields import ScoringConfig

    draw = np.random.default_rng(0)
    clips = [
        Clip(torch.from_numpy(draw.integers(0, 256, (frames, 3, side, side), np.uint8)), 8.0)
        for frames, side in zip([5, 1, 4, 9, 4, 13, 2, 4], [16, 8, 8, 16, 8, 8, 32, 8], strict=True)
    ]
    lines = [PromptLine(f"line {i}", prompt) for i, prompt in enumerate(PROMPTS)]
    scored = Rewards(reward, "cpu", ScoringConfig(batch_size=batch_size))
    (scores,) = scored(clips, lines, 2).values()
    expected = [judged(clip, PROMPTS[i // 2]) for i, clip in enumerate(clips)]
    assert scores.flatten().tolist() == expected
    # Four frames for four prompts are still one clip.
    for wrong in (clips[2], [clips[2]], clips[:5]):
        with pytest.raises(ValueError, match="given for 4 samples"):
            scored(wrong, lines, 1)


def test_a_run_of_clips_never_crosses_them(reward, tmp_path, monkeypatch):
    draw = np.random.default_rng(1)
    rows = []
    for place, prompt in enumerate(PROMPTS):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8)).save(
            tmp_path / f"{place}.png"
        )
        rows.append(json.dumps({"prompt": prompt, "image": f"{place}.png"}))
    (tmp_path / "prompts.jsonl").write_text("\n".join(rows))
    prompts = str(tmp_path / "prompts.jsonl")
    rollouts, sheets = [], []
    collect, playing_sheet = trainer.collect, evaluation.playing_sheet

    def collected(policy, sampler, lines, *given):
        rollouts.append(collect(policy, sampler, lines, *given))
        # The same addresses with one prompt for all: where it stands, the samples are its own.
        for place, line in enumerate(lines):
            its = collect(policy, sampler, [line] * len(lines), *given).media
            for i, (clip, same) in enumerate(zip(rollouts[-1].media, its, strict=True)):
                assert torch.equal(clip.frames, same.frames) == (i // 2 == place)
        return rollouts[-1]

    def shown(media, captions, **options):
        sheets.append((list(media), list(captions)))
        return playing_sheet(media, captions, **options)

    monkeypatch.setattr(trainer, "collect", collected)
    monkeypatch.setattr(evaluation, "playing_sheet", shown)
    run = train(
        tiny_runs.config(
            tiny_videos.saved("skyreels", tmp_path),
            top={"steps": 1, "reward": reward, "prompts": prompts},
            # Batches of 4 hold samples of two prompts and tear a third's apart.
            sampler={"steps": 2, "prompts_per_step": 3, "group_size": 2, "batch_size": 4},
            evaluation={"prompts": prompts, "samples": 4, "steps": 1, "sheet": 4},
        ),
        out=tmp_path / "runs" / "clips",
        device="cpu",
    )

    (rollout,) = rollouts
    assert len({clip.frames.numpy().tobytes() for clip in rollout.media}) == 6
    owners = [rollout.lines[int(i)].prompt for i in rollout.owner]
    assert owners == [line.prompt for line in rollout.lines for _ in range(2)]
    expected = [judged(*pair) for pair in zip(rollout.media, owners, strict=True)]
    (logged,) = (line for line in tiny_runs.lines(run) if f"reward/{reward}" in line)
    assert logged[f"reward/{reward}"] == pytest.approx(np.mean(expected))

    assert len(sheets) == 2
    for step, (media, captions) in enumerate(sheets):
        for clip, caption, prompt in zip(media, captions, PROMPTS, strict=True):
            text, score = caption.split("\n")
            assert text == prompt and score == f"{reward} {judged(clip, prompt):g}"
        playing = read_clip(run.samples / f"step-{step:06d}.mp4")
        assert len(playing.frames) == 5 and playing.fps == pytest.approx(8.0)
        for place, clip in enumerate(media):
            left = 12 + 212 * place
            for frame, on_sheet in zip(clip.frames, playing.frames, strict=True):
                thumb = np.asarray(to_pil(frame).resize((200, 200), Image.Resampling.BICUBIC))
                seen = on_sheet[:, 12:212, left : left + 200].permute(1, 2, 0).numpy()
                assert np.abs(thumb.astype(int) - seen).mean() < 6, (step, place)

    page = build(leaderboard([], with_published=True), tmp_path / "site",
                 runs=read_runs(tmp_path / "runs"))  # fmt: skip
    html = page.read_text("utf-8")
    for step, when in enumerate(("Before", "After")):
        name = f"media/run-0.step-{step:06d}.mp4"
        assert (page.parent / name).read_bytes() == (
            run.samples / f"step-{step:06d}.mp4"
        ).read_bytes()
        assert html.index(f"<figcaption>{when}") < html.index(f'<video src="{name}"')
    assert html.count('preload="none" muted playsinline loop controls') == 2
    assert "autoplay" not in html

    sheet = sample(run.folder, prompts=prompts, out=tmp_path / "both.png", number=2, device="cpu")
    media, captions = sheets[-1]
    assert captions == [f"{w}\n{p}" for p in PROMPTS[:2] for w in ("before", "after")]
    assert sheet.is_file() and len(read_clip(tmp_path / "both.mp4").frames) == 5
    # Two prompts, before and after: in the size and number of frames of the run.
    assert len({clip.frames.numpy().tobytes() for clip in media}) == 4
