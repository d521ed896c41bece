"""How is a model improved? Prompts + rewards -> a better model.

It imports `rewardkit` and none of the other packages. Its mathematics is six modules of pure
functions of tensors, without files, globals or pipelines:

    grpo.sde         one step of each sampler, and its log-probability
    grpo.schedules   the sigmas or timesteps that the steps walk along
    grpo.advantage   rewards -> advantages, per group, per reward
    grpo.surrogates  the losses of policy gradients
    grpo.matching    the losses of forward processes
    grpo.loss        KL

A new sampler is one function of `grpo/sde.py` that returns a `Step`, a new loss one function of
`grpo/loss.py` or `grpo/surrogates.py`; each names its paper and is compared, in `tests/oracle/`,
with its authors' code. Importing this package loads no torch.
"""
