"""What is written down and compared: score tables, journals, provenance, statistics.

Imports `rewardkit.errors` and no other part of rewardkit. `storage` writes files that are whole or
absent, `rows` is the score table and `formats` its files, `scorefile` the table of a run under way,
`provenance` says what made a number. How sure it is say `totals`, `clusters` and `power`, of
pictures that hang together by prompt and task; `comparing` pairs two score tables, and `alike` says
whether they were made alike. A new table format is one entry in `formats.FORMATS`; a new statistic
is one pure function in `stats`.
"""
