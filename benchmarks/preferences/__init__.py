"""Does a reward choose as people choose? Pictures or clips that people compared, pair by pair.

    question  what people were asked, and what they answered
    manifest  a set of one's own, a line per question
    sets      published sets by name, in their publishers' layout
    accuracy  the measures, as pure functions
    results   the result file
    summary   from scores to a result's numbers, with intervals
    runner    read, score, sum up, write down: resumable

It measures rewards, where the rest of `benchmarks` measures generators.
"""
