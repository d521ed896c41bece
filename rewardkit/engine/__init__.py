"""How does a reward become numbers? Cards, registry, spec, preprocessing, encoders, scorers.

May import `rewardkit.errors`, `records`, `media` and `models`; knows no particular reward.
"""
