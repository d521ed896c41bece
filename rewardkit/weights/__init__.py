"""Which weights does a network run on? Files of a hub or a disk: pinned, checked, read strictly.

`hub` finds a file and checks its checksum, `checkpoint` reads it without running code, `pull`
fetches it in advance, `memory` remembers checksums. `nets` holds the networks that no library has.
May import `rewardkit.errors`, `devices`, `records` and `media`.
"""
