"""Arrays that methods need and that are learned, not computed: shipped with the package, one `.npy` file each.

The scripts that make them stand in `prior/learning`.
"""

import functools
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.errors import InputError

FOLDER = Path(__file__).parent
"""Where a script puts what it has learned, in a checkout."""


@functools.cache
def load(name: str) -> NDArray[np.float32]:
    """The shipped array of this name, read once.

    Args:
        name: of the file without its ending.

    Returns:
        float32, read-only, since all callers share it.

    Raises:
        InputError: there is no such file in the installed package.
    """
    file = files(__name__) / f"{name}.npy"
    if not file.is_file():
        raise InputError(f"the array {name} is not inside the installed package; reinstall fusion-prior", "unreadable")
    with as_file(file) as path:
        array: NDArray[np.float32] = np.load(path, allow_pickle=False).astype(np.float32, copy=False)
    array.setflags(write=False)
    return array
