"""What is loaded? Files of weights (`hub`): pinned, checked, local or from the hub.

May import `rewardkit.errors`, `records` and `media`. Generators and networks that no library has
get their modules here.
"""
