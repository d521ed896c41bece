"""What is written down and compared: score tables, journals, provenance, statistics.

Imports `rewardkit.errors` and no other part of rewardkit. `storage` writes files that are whole or
absent, `rows` is the score table and `formats` its files, `scorefile` the table of a run under way,
`provenance` says what made a number. How sure it is, `stats` says of independent rows; `totals`,
`clusters` and `power` of benchmarks, whose pictures hang together by prompt and task. A new table
format is one entry in `formats.FORMATS`; a new statistic is one pure function in `stats`.
"""
