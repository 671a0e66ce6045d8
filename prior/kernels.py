"""Compiled kernels on disk: those that may hold an older version of what they share are forgotten.

Numba keeps a compiled kernel as long as its own file is unchanged, although the code of kernels that it calls from other files is part of
it. So whenever a shared file is newer than a compiled kernel, that one is compiled anew: a score must not be by code of yesterday. Kernels
that Numba keeps elsewhere, because `NUMBA_CACHE_DIR` says so or the package cannot be written to, are not looked for.
"""

import contextlib
from pathlib import Path

SHARED = ("statistics", "steps")


def forget_stale(package: Path) -> int:
    """Delete the index of every compiled kernel of a package that is older than the newest file it may have been compiled with.

    Args:
        package: its folder, with the folders of `SHARED` in it.

    Returns:
        How many were deleted; what cannot be deleted, as in a folder that is only read, stays.
    """
    newest = max((path.stat().st_mtime_ns for name in SHARED for path in (package / name).glob("*.py")), default=0)
    forgotten = 0
    for index in package.glob("*/__pycache__/*.nbi"):
        # another process may delete it at the same time
        with contextlib.suppress(OSError):
            if index.stat().st_mtime_ns < newest:
                index.unlink()
                forgotten += 1
    return forgotten
