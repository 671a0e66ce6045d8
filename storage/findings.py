"""What a look through a store finds: one record per damage, with the snapshots and pairs it hits."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storage.errors import FusionPriorError, StoreError
from storage.repository import first_line

MISSING = "missing"
DAMAGED = "damaged"
SEAL = "seal"
REFERENCE = "reference"
SNAPSHOT = "snapshot"
TABLE = "table"
IMAGE = "image"
MODELS = "models"
KINDS = {
    MISSING: "a file that was sealed is not there",
    DAMAGED: "a file is not what was sealed",
    SEAL: "a snapshot's seal is lost, or not what was written",
    REFERENCE: "a branch or a tag does not say which snapshot it names, or names one that is not there",
    SNAPSHOT: "a snapshot cannot be read",
    TABLE: "a table cannot be read, or does not say what the manifest or the other tables do",
    IMAGE: "an image cannot be read, is not the one that was selected, or does not fit the tables",
    MODELS: "the registry of models or the champion's weights cannot be read",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One damage.

    Attributes:
        kind: one of `KINDS`.
        where: the path of the file, the name of the branch or tag, or the path of the array.
        sentence: what is wrong.
        snapshots: the ids of the snapshots it hits; none where they read as before.
        pairs: the ids of the pairs it hits in any of them; none where every image still reads as it was selected.
    """

    kind: str
    where: str
    sentence: str
    snapshots: tuple[str, ...] = ()
    pairs: tuple[str, ...] = ()


@contextmanager
def read_safely() -> Iterator[None]:
    """Turn whatever damaged metadata makes Icechunk, Zarr or Arrow raise into a StoreError of one line."""
    try:
        yield
    except FusionPriorError:
        raise
    except Exception as error:
        raise StoreError(first_line(error) or type(error).__name__) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Icechunk can panic over a damaged file, which is no Exception
            raise
        raise StoreError("its bytes make no sense") from error


def name_some(names: Collection[str]) -> str:
    """The first few of some names, and how many there are more."""
    shown = sorted(names)[:5]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
