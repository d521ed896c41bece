"""How sure is a number? Intervals, paired tests, totals over tasks, and the power to see a gap.

Pure functions of numbers: imports `rewardkit.errors` and no other part of rewardkit. `intervals`
are of independent items; `clusters` of items that share a prompt or a task; `totals` weighs tasks;
`power` says how large a gap a sample can show. A new statistic is one pure function.
"""
