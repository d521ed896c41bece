"""Who is best? Results in, tables and pages out.

It imports `benchmarks` and, of `rewardkit`, its records, its errors, the grammar of rewards and the
frame of its commands.

    load       result files below folders
    rank       what paired tests say of an order: ranges of ranks
    assemble   results -> boards: what is comparable side by side, what is not apart and marked
    board      what a board, a row and a standing are
    published  numbers from papers, each with its source; shown when asked for, never ranked
    tables     a board as a table: columns and cells
    render     a table as Markdown, CSV, LaTeX and JSON
    committed  tables in Markdown files that must say what the results say
    page       a folder that a browser opens

To add a column, add it to `tables.COLUMNS`; to add published numbers, add rows, or a file, to
`published/`. Importing this package loads no torch.
"""
