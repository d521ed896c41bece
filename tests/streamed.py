"""The outcome of each sample, failures beside scores, as everything that scores gets them."""

from rewardkit.media.batch import Batch, Sample


def outcomes(scorer, media, prompts=None, meta=None, groups=None, **options):
    """One `Scored` per medium; `options` are those of `Scorer.stream`."""
    batch = Batch.of(media, prompts, meta)
    samples = [
        Sample(lambda medium=medium: medium, prompt, line, group)
        for medium, prompt, line, group in zip(
            batch.media, batch.prompts, batch.meta, groups or [None] * len(batch), strict=True
        )
    ]
    return [outcome for scored in scorer.stream(samples, **options) for outcome in scored]
