"""What is written down? Score tables, journals, provenance.

May import `rewardkit.errors`, `extras` and `stats`. `storage` writes files that are whole or
absent, and `journal` keeps what a run has finished. `rows` is the score table, `formats` its files,
`frames` its DataFrame, and `scorefile` the table of a run under way. `provenance` says what made a
number, `comparing` pairs two score tables, and `alike` says whether both were made with the same
settings. A new table format is one entry in `formats.FORMATS`.
"""
