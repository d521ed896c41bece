"""How is a model measured? A model, or a folder of its pictures or clips -> results.

Imports `rewardkit` and none of the other packages.

    benchmark    the contract: task, prompts, rewards, criteria; the registry
    prompts      the cases of a benchmark; `lists` reads them from files and public lists
    criteria     how scores become one number; `numbers` adds confidence intervals
    layout       the names of the files of a benchmark
    media        makes pictures and clips, or finds and checks them; `cards` says what made them
    runner       check, score, sum up, write down; resumable, in shards that `merging` merges
    results      the result file, made of `fields`; `rows` names its rows, `reading` reads all
                 versions of it, and `Result.frame` gives a DataFrame
    trust        whether a result says what its rows say
    comparing    two results of one benchmark, pair by pair
    preferences  measures rewards by what people preferred

To add a benchmark, add a file to `benchmarks/catalogue`. Another distribution names a module that
registers its own benchmarks in the entry-point group `rewardkit.benchmarks`. Importing this package
does not load torch.
"""
