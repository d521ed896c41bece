"""The outcome of each sample, failures beside scores, as everything that scores gets them."""

from rewardkit.media.batch import Batch, LazySample


def outcomes(scorer, media, prompts=None, meta=None, groups=None, references=None, **options):
    """One `Outcome` per medium; `options` are those of `Scorer.stream`."""
    batch = Batch.of(media, prompts, meta, references)
    groups = groups or [None] * len(batch)
    samples = [LazySample.of(*pair) for pair in zip(batch.samples, groups, strict=True)]
    return [outcome for scored in scorer.stream(samples, **options) for outcome in scored]
