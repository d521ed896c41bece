"""Does an extension keep its contract? Checks that raise AssertionError, for its author's tests.

`policy` checks any family of pipelines, `objective` any kind of objective. A check is a function
whose docstring states the claim; one of another contract is a file of its own here. It may import
the rest of `grpo`, none of which imports it, and it needs no pytest.
"""

from grpo.testing.objective import check_objective
from grpo.testing.policy import check_policy, check_sampling, randomise

__all__ = ["check_objective", "check_policy", "check_sampling", "randomise"]
