"""Whether this very process holds the write lock of a SQLite file, as Linux tells it.

No file of SQLite is opened for that: a process that closes one loses all its locks on it.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_LOCKS: Final = Path("/proc/locks")

_WAL_WRITE: Final = 120
"""The byte of the -shm file that a writer locks: https://www.sqlite.org/walformat.html"""

_RESERVED: Final = 0x40000001
"""The byte of the file itself that a writer locks where there is no write-ahead log."""


def is_held_here(file: Path) -> bool:
    """Whether a connection of this process is writing; False where the system does not tell."""
    try:
        locks = _LOCKS.read_bytes()
    except OSError:
        return False
    if b"WRITE %d " % os.getpid() not in locks:
        return False
    mine, places = str(os.getpid()), set[tuple[str, int]]()
    for path, byte in ((f"{file}-shm", _WAL_WRITE), (str(file), _RESERVED)):
        with suppress(OSError):
            places.add((str(os.stat(path).st_ino), byte))  # noqa: PTH116  a name, not yet a path
    for line in locks.decode("ascii", "replace").splitlines():
        # 1: POSIX  ADVISORY  WRITE 4711 08:01:131 120 120
        match line.split():
            case [_, "POSIX", _, "WRITE", pid, place, first, last] if pid == mine and last != "EOF":
                inode = place.rpartition(":")[2]
                if any(inode == i and int(first) <= byte <= int(last) for i, byte in places):
                    return True
    return False
