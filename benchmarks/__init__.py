"""How is a model measured? A model, or a folder of pictures, -> results.

It imports `rewardkit` and none of the other packages.

    benchmark  the contract: prompts, pictures of each, what scores them; the registry
    layout     where the pictures of a set lie below its folder
    pictures   made by a model, or found and checked
    runner     scored: resumable, in shards that `merging` makes one of
    summary    from rows to means with intervals
    results    the result file, which says all that is needed to be believed
    trust      whether a result says what its rows say
    comparing  two results of one benchmark, pair by pair
    preferences  rewards, measured on what people chose

To add a benchmark, add a file to `benchmarks/catalogue`; another distribution names a module that
registers its own in the entry-point group `rewardkit.benchmarks`. Importing this package loads no
torch.
"""
