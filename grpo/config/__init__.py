"""What does a run do? Typed settings, in layers: defaults, then method, recipe and `--set`.

`fields` holds every setting with its bounds and a sentence, `layers` lays TOML over TOML and keeps
where each value came from, `checks` refuses values that do not fit together, `resolve` derives what
is left open. Loads no torch.
"""
