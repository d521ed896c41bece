"""What makes images? Pipelines of diffusers: found, loaded, sampled.

`pipelines` loads one and samples it, `families` says what a family reads and makes, `protocol` with
which settings, `gallery` writes what it made. A LoRA is loaded by `lora`. May import
`rewardkit.errors`, `devices`, `records`, `media` and `weights`. A new family is one entry in
`families.FAMILIES`.
"""
