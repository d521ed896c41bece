"""Who is best? Results in, tables and pages out.

Imports `benchmarks` and, of `rewardkit`, its records, statistics, media, errors and the frame of
its commands.

    load       result files below folders
    rank       ranges of ranks, from paired tests
    assemble   results -> boards: comparable results side by side, others on boards of their own
    papers     published rows on boards
    board      what a board, a row and a standing are
    published  numbers from papers, each with its source; shown on request, never ranked
    tables     a board as a table, made of `cells`; `across` compares models across boards
    render     a table as Markdown, CSV, LaTeX and JSON
    committed  tables in Markdown files, which are checked against the results
    page       a folder that a browser opens

To add a column, add it to `tables.COLUMNS`; to add published numbers, add rows, or a file, to
`published/`. Importing this package does not load torch.
"""
