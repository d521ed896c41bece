"""How sure is a number? Confidence intervals, paired tests, totals over tasks, and power.

Pure functions of numbers; imports `rewardkit.errors` and no other part of rewardkit. `intervals`
has what all share; `totals` sums values by prompt and task; `clusters` estimates and compares means
of items that share a prompt or a task; `flips` computes p-values; `power` says how large a
difference a sample can show. A new statistic is one pure function.
"""
