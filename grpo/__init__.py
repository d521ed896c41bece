"""How is a model improved? Prompts + rewards -> a better model.

It imports `rewardkit` and none of the other packages. Its mathematics is modules of pure functions
of tensors, without files, globals or pipelines:

    grpo.sde             one step of each sampler, and its log-probability
    grpo.schedules       the sigmas or timesteps that the steps walk along
    grpo.advantage       rewards -> advantages, per group, per reward
    grpo.surrogates      losses of policy gradients
    grpo.matching        losses of the forward process: DiffusionNFT, AWM
    grpo.group_matching  those that depend on a group or an update: DGPO, CRD
    grpo.loss            KL

A new sampler is one function of `grpo/sde.py` that returns a `Step`, a new loss one function of one
of the last four; each names its paper and is compared, in `tests/oracle/`, with its authors' code.
Importing this package loads no torch.
"""
