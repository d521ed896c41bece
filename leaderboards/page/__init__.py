"""The page: one folder that a browser opens from the file system, asking the network nothing.

    site       the folder: index.html with scripts and data inside, pictures and clips in media/
    view       boards -> what the template shows: rows, marks, bars, the protocol most share
    details    where a row comes from, as terms and texts
    command    the command that makes a result
    gallery    which pictures or clips are shown side by side
    runs       what runs of `grpo train` logged, and their first and last sheets
    plots      boards and runs -> the data of plots
    *.jinja, *.css, *.js   what the browser reads

All text of others goes through Jinja's escaping, or stays data: the scripts build no HTML of it.
"""
