"""`python -m grpo`: the same as the `grpo` command, for `accelerate launch -m grpo train`."""

from grpo.cli import main

main()
