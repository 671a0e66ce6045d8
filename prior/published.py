"""Results that others published, as candidates: a folder with one folder per method joins the live methods as `published:<folder>`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prior.arrays import Picture, luma
from prior.folders import group_by_key, leads_out, list_folder, normalise_stem, parse_pattern
from prior.pairs import PairRef
from prior.pictures import Decoded, read_picture, show_path, try_hash
from prior.signatures import SignatureGroup, find_other_pair, signature
from storage.errors import CandidateError, InputError
from storage.schema import FAILED, MISSING, OK

PREFIX = "published:"
FOLDER_PREFIX = "Knowledge_"  # how some collections name the folders of their methods


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One method's published result for one pair.

    Attributes:
        method: `published:<folder>`.
        path: of the file, empty where there is none.
        file_hash: SHA-256 of its bytes, part of the candidate's content key; empty where it cannot be opened.
        status: "ok", "missing" or "failed".
        reason: one of `storage.schema.CANDIDATE_REASONS`, empty where ok.
        message: one sentence, likewise.
        remarks: what was done to the picture before it could be judged, in sentences.
    """

    method: str
    path: str
    file_hash: str
    status: str
    reason: str = ""
    message: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedIndex:
    """The files of every published method by the stem of their names; made once per source.

    Attributes:
        methods: files by method and stem, methods in alphabetical order.
        clutter: what lies beside the files and is no picture.
    """

    methods: Mapping[str, Mapping[str, tuple[Path, ...]]]
    clutter: tuple[Path, ...]


def list_methods(folder: Path) -> dict[str, Path]:
    """The published methods of a folder: `published:<name>` and the method's own folder, in alphabetical order.

    Raises:
        InputError: there is no such folder, it holds no folders, one leads elsewhere, or two differ only in the prefix `Knowledge_`.
    """
    methods: dict[str, Path] = {}
    for entry in list_folder(folder).clutter:
        if not is_method(entry):
            continue
        name = PREFIX + show_path(entry.name.removeprefix(FOLDER_PREFIX))
        if leads_out(entry):
            raise InputError(f"{show_path(entry)} leads out of the folder of published results; put the folder itself there")
        if name in methods:
            raise InputError(f"{show_path(methods[name])} and {show_path(entry)} would both be {name}; rename one of them")
        methods[name] = entry
    if not methods:
        raise InputError(f"{show_path(folder)} holds no folders; published results are expected as one folder per method")
    return dict(sorted(methods.items()))


def is_method(entry: Path) -> bool:
    """Whether an entry of a folder of published results is a method's folder: not one that is hidden, or that Python left there."""
    return entry.is_dir() and not entry.name.startswith(".") and entry.name != "__pycache__"


def index_published(folder: Path) -> PublishedIndex:
    """List the files of every method of a folder; raises InputError as `list_methods` does."""
    by_stem, _ = parse_pattern("")
    listings = {method: list_folder(path) for method, path in list_methods(folder).items()}
    return PublishedIndex(
        {method: group_by_key(listing.pictures, by_stem) for method, listing in listings.items()},
        tuple(path for listing in listings.values() for path in listing.clutter),
    )


def find_files(index: PublishedIndex, ref: PairRef) -> dict[str, tuple[Path, ...]]:
    """What every method has for one pair: the files named like its key, else like its file `a`, else like its file `b`.

    Returns:
        By method: no file, one, or several that differ in their extensions.
    """
    stems = (ref.key, normalise_stem(ref.a), normalise_stem(ref.b))
    return {method: next((files[stem] for stem in stems if stem in files), ()) for method, files in index.methods.items()}


def inspect_published(
    pair_id: str, size: tuple[int, int], files: Mapping[str, Sequence[Path]], group: SignatureGroup
) -> tuple[PublishedFile, ...]:
    """Check the published results of one pair; bad files become failures, never errors.

    Args:
        pair_id: the pair.
        size: its height and width.
        files: by method, as from `find_files`.
        group: the signatures of all pairs of that size, this one included.
    """
    return tuple(_inspect_one(pair_id, size, method, paths, group) for method, paths in files.items())


def fail_all(pair_id: str, files: Mapping[str, Sequence[Path]], reason: str, message: str) -> tuple[PublishedFile, ...]:
    """The published results of one pair where none of them could be checked; a method without a file for it is still missing."""
    return tuple(
        PublishedFile(method, show_path(paths[0]), "", FAILED, reason, f"pair {pair_id}, {method}: {message}")
        if paths
        else _name_missing(pair_id, method)
        for method, paths in files.items()
    )


def load_published(file: PublishedFile, size: tuple[int, int]) -> Picture:
    """The pixels of a published result, uint8, `(H, W)` or `(H, W, 3)` RGB.

    Args:
        file: as from `inspect_published`.
        size: expected height and width.

    Raises:
        CandidateError: it cannot be decoded, has another size, or is flat.
    """
    return _read(file.method, Path(file.path), size).pixels


def _inspect_one(pair_id: str, size: tuple[int, int], method: str, paths: Sequence[Path], group: SignatureGroup) -> PublishedFile:
    if not paths:
        return _name_missing(pair_id, method)
    path, file_hash = paths[0], ""
    try:
        _check_claim(paths)
        file_hash = try_hash(path)
        decoded = _read(method, path, size)
        _check_scene(decoded, pair_id, group)
    except CandidateError as error:
        return PublishedFile(method, show_path(path), file_hash, FAILED, error.code, f"pair {pair_id}, {method}: {error}")
    return PublishedFile(method, show_path(path), decoded.file_hash, OK, remarks=describe_reading(path, decoded))


def _name_missing(pair_id: str, method: str) -> PublishedFile:
    return PublishedFile(method, "", "", MISSING, "missing", f"{method} has no file for pair {pair_id}")


def describe_reading(path: Path, decoded: Decoded) -> tuple[str, ...]:
    """What was done to a file before its 8-bit luma could be judged, in sentences; nothing for plain 8-bit grey or RGB."""
    # what a recipe could do about it is of no use to a picture that is judged as it is
    warned = (f"{one.partition(';')[0]}; save it as 8 bits" for one in decoded.warnings)
    return tuple(f"{show_path(path)} ({decoded.format}): {one}" for one in (*warned, *decoded.notes))


def _check_claim(paths: Sequence[Path]) -> None:
    if len(paths) > 1:
        names = ", ".join(show_path(path.name) for path in paths)
        raise CandidateError(f"{names} claim the same pair; keep one of them", "ambiguous")
    if leads_out(paths[0]):
        raise CandidateError(f"{show_path(paths[0])} leads out of its folder and was not opened; put the file itself there", "unreadable")


def _read(method: str, path: Path, size: tuple[int, int]) -> Decoded:
    """Decode a published result and check all that needs no other pair."""
    expected = f"expected {size[1]} x {size[0]}; results are not resized, ask for {method}'s own size or take the file out"
    try:
        decoded = read_picture(path)
    except InputError as error:
        if error.code == "too_large":  # no pair is that large
            raise CandidateError(f"{error}; {expected}", "wrong_size") from error
        raise CandidateError(str(error), "unreadable") from error
    height, width = decoded.pixels.shape[:2]
    if (height, width) != size:
        raise CandidateError(f"{show_path(path)} has {width} x {height} pixels, {expected}", "wrong_size")
    grey = luma(decoded.pixels)
    if grey.min() == grey.max():
        raise CandidateError(f"{show_path(path)}: every pixel is {grey.min()}; replace the file or take it out", "flat")
    return decoded


def _check_scene(decoded: Decoded, pair_id: str, group: SignatureGroup) -> None:
    found = find_other_pair(signature(luma(decoded.pixels)), pair_id, group)
    if found:
        other, gain = found
        raise CandidateError(f"shows pair {other} (its correlation is better by {gain:.2f}); check the names of the files", "other_pair")
