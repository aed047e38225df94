"""Memory that a process holds on to, rather than giving it back to the system and asking for it again in each step.

With glibc's defaults, a step of training on a CPU gives hundreds of megabytes back and takes them again: 125,000 page
faults a step (512 wide, 6 + 6 layers, 60 s a batch), 3,000 with these settings, and a tenth of the time.
"""

from __future__ import annotations

import ctypes
import platform

# <malloc.h>: what is freed at the end of the heap stays in it, which grows by 64 MB at a time and has large blocks too.
TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4
SETTINGS = {TRIM_THRESHOLD: (1 << 31) - 1, TOP_PAD: 1 << 26, MMAP_MAX: 0}


def hold_memory() -> bool:
    """For the rest of the process; false where the C library isn't glibc, and nothing was changed."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all(mallopt(setting, value) for setting, value in SETTINGS.items())
