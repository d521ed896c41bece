"""Media: pictures, clips and their prompts, from wherever a user keeps them.

This package is the only place that opens pictures and clips. It may import `rewardkit.errors` and
nothing else of rewardkit.

    files       a file handed over by a user, opened, or the reason why it cannot be
    images      any picture Pillow reads -> uint8 [3, H, W]
    task        what a generator is asked to make, and the kind of medium that is
    decoding    any clip -> its frames, uint8 [F, 3, H, W], and their rate
    clips       files of clips -> Clip, and mp4 back
    sampling    which frames of a clip are taken, by a rate or by a number
    libav       videos, for clips          animations  animated pictures, for clips
    batch       Clip, Sample, Batch, and `to_medium`, the boundary for what users hold in memory
    arguments   what is given beside media, for batches    arrays  arrays -> uint8 pixels
    tables      the rows of a table or a JSON file, each with where it stands
    delimited   csv and tsv, for tables    columns  which column names files, which has prompts
    places      the files below folders and behind patterns, and the names ids are made of
    sources     files, folders, patterns, stdin and manifests -> Items
    manifests   tables of files, for sources    leftovers  what is said of files not scored
    prompts     Items and a prompt file, one text, sidecars, names, metadata -> Items with prompts
    joining     Items and rows, by name or by order    embedded  prompts in a picture's metadata
    sheets      media and captions -> one contact sheet    writing  media -> PNG and mp4 files
    ladders     pictures and clips whose order of quality is known    scene  what they show

To extend: a new picture format is a plug-in registered with Pillow; a new clip format is one that
libav reads, added to `libav._FORMATS`. A new source of media is a branch of `sources.find`, a new
kind of prompt file one of `prompts.attach`, a new name of a column an entry in `columns`.
"""
