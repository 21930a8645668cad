"""Files from the web: into their place below `data_dir()`, whole and checked, or not at all.

A leaf room: weights and data sets are files to it. What a cut connection leaves is kept, and the next call goes on
from there; what has arrived is written into a manifest, by which it can be checked again without a network.
"""

from sftlab.data.remote.bar import Bar
from sftlab.data.remote.files import (
    Damaged,
    NoRoom,
    RemoteFile,
    Sums,
    Unreachable,
    Watch,
    check_room,
    full_disk_said,
    sums,
)
from sftlab.data.remote.manifest import Entry, lock
from sftlab.data.remote.places import data_dir
from sftlab.data.remote.transfer import download

__all__ = [
    "Bar", "Damaged", "Entry", "NoRoom", "RemoteFile", "Sums", "Unreachable", "Watch", "check_room", "data_dir",
    "download", "full_disk_said", "lock", "sums",
]  # fmt: skip
