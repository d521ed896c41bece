"""What does a run do? Typed settings, in layers: defaults, then method, recipe and `--set`.

`fields` holds every setting with its bounds and a sentence, beside `sampler` and, for what all
objectives share, `objective`; `layers` lays TOML over TOML and keeps where each value came from,
`resolve` puts them together, `counts` says how much work they are. Loads no torch.
"""
