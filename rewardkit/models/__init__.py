"""What is loaded? Files of weights: pinned and checked (`hub`), read strictly (`checkpoint`).

May import `rewardkit.errors`, `records` and `media`. Generators and networks that no library has
get their modules here.
"""
