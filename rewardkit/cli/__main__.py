"""`python -m rewardkit.cli`: the same as the `rewardkit` command."""

from rewardkit.cli import main

main()
