"""Which weights does a network run on? Files of a hub or a disk: pinned, checked, read strictly.

    pins        PinnedFile, one file; Snapshot, a folder of many; Located, what was found of them
    hub         `locate` finds either and compares checksums    client  what the hub is asked for
    memory      what first downloads recorded                   shards  whether a folder is whole
    checkpoint  files of tensors, read without running code     fetch   a file at an address
    pretrained  `from_pretrained` with nothing missing          pull    for machines without network
    nets        networks that no library has as they are    videoalign  settings of its checkpoints

May import `rewardkit.errors`, `devices`, `records` and `media`.
"""
