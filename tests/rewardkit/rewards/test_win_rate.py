"""Win rates inside a group, by the score of any reward."""

import pytest
import torch
from click.testing import CliRunner

from grpo.places import _reward as anchored
from grpo.places import code
from rewardkit.cli import main
from rewardkit.engine.loader import Loader
from rewardkit.engine.registry import entry, resolve
from rewardkit.engine.scorer import Scorer
from rewardkit.engine.spec import local_folder, parse, user_file
from rewardkit.errors import InputError, ScoringError, UsageError
from rewardkit.media.batch import Batch
from rewardkit.rewards.win_rate import win_rates

DARK = "def light(batch):\n    return [float(s.picture.float().mean()) for s in batch.samples]\n"


def flat(*levels):
    return [torch.full((3, 32, 32), level, dtype=torch.uint8) for level in levels]


def test_the_share_of_the_others_that_are_beaten_and_half_of_ties():
    # 3 beats 1 and 2; 2 beats 1 and ties once; 1 beats none.
    assert win_rates(torch.tensor([3.0, 2.0, 2.0, 1.0])).tolist() == pytest.approx(
        [1.0, 1.5 / 3, 1.5 / 3, 0.0]
    )


def test_a_group_is_compared_by_any_reward_and_seen_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(DARK)
    spec = parse("win-rate:./my.py:light", resolve)
    scorer = Scorer.load(spec, Loader("cpu"))
    # Groups (10, 30) and (20, 5, 1), of which no batch of one sample cuts any.
    got = scorer(flat(10, 20, 30, 5, 1), groups=[0, 1, 0, 1, 1], batch_size=1)
    assert got[spec.names[0]].tolist() == [0.0, 1.0, 1.0, 0.5, 0.0]
    with pytest.raises(Exception, match="compares samples, and the group has one"):
        scorer(flat(1), groups=[0])


def test_the_judge_scores_a_group_in_pieces_as_large_as_its_card_allows():
    judge = entry("videoalign.mq").card
    card = entry("win-rate:videoalign.mq").card
    assert judge.batch_size == 8 and card.inputs == judge.inputs and card.weights == judge.weights
    spec = parse("win-rate:clip.vit-b-32+clip.vit-b-32", resolve)
    scorer = Scorer.load(spec, Loader("cpu", tiny=True))
    won = scorer.rewards["win-rate:clip.vit-b-32"]
    seen = []
    won.extractor.size = 2
    real = won.extractor.extractor.features
    won.extractor.extractor.features = lambda part: seen.append(len(part)) or real(part)
    got = scorer(flat(10, 90, 30, 5, 200), "a red ring", groups=[0] * 5)
    assert seen[:3] == [2, 2, 1]
    ranks = got["clip.vit-b-32"].argsort().argsort()
    assert got["win-rate:clip.vit-b-32"].tolist() == pytest.approx((ranks / 4).tolist())


def test_a_score_of_the_judge_that_is_not_finite_is_an_error_and_never_a_rank(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(
        "def light(batch):\n"
        "    levels = [float(s.picture.float().mean()) for s in batch.samples]\n"
        "    return [float('nan') if level == 40 else level for level in levels]\n"
    )
    scorer = Scorer.load(parse("win-rate:./my.py:light", resolve), Loader("cpu"))
    (won,) = scorer.rewards.values()
    won.extractor.size = 2
    batch = Batch.of(flat(10, 20, 30, 40))
    prepared = [won.extractor.prepare(sample) for sample in batch.samples]
    with pytest.raises(ScoringError, match=r"sample 3 cannot be scored: .*light returned nan"):
        won.score(batch, won.extractor.features(prepared))
    with pytest.raises(ScoringError, match="light returned nan"):
        scorer(flat(10, 40, 30), groups=[0] * 3)


def test_names_are_resolved_and_what_is_not_comparable_is_refused(tmp_path):
    assert resolve("Win-Rate:hps") == "win-rate:hps.v2.1"
    with pytest.raises(UsageError, match="Did you mean 'hps'"):
        resolve("win-rate:hsp")
    with pytest.raises(UsageError, match=r"win-rate:hps\.v2\.1 compares the samples of a group"):
        entry("win-rate:win-rate:hps")
    with pytest.raises(InputError):  # outside the judge's grammar
        entry("win-rate:shapes-correct").cls.check_line("a photo of a cat", {})
    refused = CliRunner().invoke(main, ["score", str(tmp_path), "-r", "win-rate:sharpness"])
    assert "win-rate:sharpness compares the samples of a group" in refused.stderr


def test_files_behind_the_scheme_are_found_and_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert user_file("win-rate:./my.py:light") == "./my.py" and user_file("clip:a/b") is None
    assert code("0.5*win-rate:my.py:light+hps") == ["my.py"]  # so that running it is asked for
    assert anchored("win-rate:./my.py:light") == f"win-rate:{tmp_path}/my.py:light"
    assert local_folder("win-rate:clip:./c") == "./c"
    assert anchored("win-rate:clip:./c") == f"win-rate:clip:{tmp_path}/c"
