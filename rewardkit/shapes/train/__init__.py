"""Training of the checkpoints in `weights/`: `python -m rewardkit.shapes.train NAME`.

`loop` trains any `Training`; `autoencoder`, `flow`, `diffusion` and `clip` each define one, and
`__main__` is the command. Training uses rendered scenes only; held-out prompts are used only for
evaluation.
"""
