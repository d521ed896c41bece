"""What is written down? Score tables, journals, provenance.

May import `rewardkit.errors` and `stats`. `storage` writes files that are whole or absent, `rows`
is the score table and `formats` its files, `scorefile` the table of a run under way, `provenance`
says what made a number, `comparing` pairs two score tables, and `alike` says whether they were made
alike. A new table format is one entry in `formats.FORMATS`.
"""
