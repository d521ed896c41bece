"""How the checkpoints in `weights/` are made: `python -m rewardkit.shapes.train NAME`.

`loop` trains anything that is a `Training`; `autoencoder`, `flow`, `diffusion` and `clip` each hold
one, and `__main__` is the command. Reads rendered scenes only, asks held-out prompts only to score.
"""
