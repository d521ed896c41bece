"""What does a run do? Typed settings, in layers: defaults, then method, recipe and `--set`.

`fields` holds every setting with its bounds and a sentence, beside `sampler` and `advantage`; what
an objective adds is in its file of `grpo.objectives`. `layers` lays TOML over TOML and keeps where
each value came from, `merge` and `resolve` put them together, `counts` says how much work they are.
Loads no torch.
"""
