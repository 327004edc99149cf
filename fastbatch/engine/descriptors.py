"""How many connections this process may open at once."""

from __future__ import annotations

import os
import resource

_KEPT_BACK = 32  # for files, the cache (5), the loop, and whatever the program beside us opens meanwhile
_FOLDERS = ("/proc/self/fd", "/dev/fd")


def room_for_connections() -> int | None:
    """Descriptors that are left for connections, at least 1; None where nothing limits them.

    A process may have to open files for other things while a run lasts, so that some are kept back.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    return max(1, soft - _open_now() - _KEPT_BACK)


def file_limit() -> int:
    """What `ulimit -n` says."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _open_now() -> int:
    for folder in _FOLDERS:
        try:
            return len(os.listdir(folder))  # noqa: PTH208  (a million paths are not wanted, only how many)
        except OSError:
            continue
    return 64  # a process with its libraries loaded, where nobody tells
