"""Export: a snapshot as a folder for those who do not have this project, whole or not at all.

Pairs are read, encoded and written one after the other, a few ahead, so that memory does not grow with their number. The folder is written
beside its place and renamed when it is complete.
"""

import json
import logging
import shutil
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from storage.errors import InputError, unknown_name
from storage.layouts import Description, Entry, Job, Pictures, card, croissant, diff_if, huggingface, make_stems, spell_plainly, webdataset
from storage.licences import Claim, describe_refusals, find_refusals
from storage.schema import SPLITS, metric_columns
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows, to_selection_rows

logger = logging.getLogger(__name__)

THREADS = 4
"""Pairs read and encoded at once; both leave the interpreter free."""

AHEAD = 2 * THREADS
"""Pairs read ahead of the one that is written: all that is held in memory."""

LAYOUTS: Mapping[str, Callable[[Job], Description]] = MappingProxyType(
    {"diff-if": diff_if.write, "webdataset": webdataset.write, "huggingface": huggingface.write}
)

Encode = Callable[[NDArray[np.uint8]], bytes]
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """What is exported, where to and how.

    Attributes:
        out: the folder; it must be empty or not there.
        layout: one of `LAYOUTS`.
        splits: whose pairs.
        policy: "any", or "commercial" for pairs alone that are known to be usable commercially.
        allow: licence texts that the user states to allow it.
        refused: what is done about pairs that the policy refuses: "stop" before anything is written, or "leave_out".
        metric_licences: of the metrics that the criterion reads.
        shard_bytes: the size of a shard, for layouts that have shards.
        visible: "a", "b" or empty; see `layouts.Job`.
    """

    out: Path
    layout: str = "diff-if"
    splits: tuple[str, ...] = SPLITS
    policy: Literal["any", "commercial"] = "any"
    allow: tuple[str, ...] = ()
    refused: Literal["stop", "leave_out"] = "stop"
    metric_licences: Mapping[str, str] = field(default_factory=dict)
    shard_bytes: int = 512_000_000
    visible: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What was exported.

    Attributes:
        folder: where it lies.
        counts: pairs by split.
        notes: sentences on what was left out or is missing.
    """

    folder: Path
    counts: Mapping[str, int]
    notes: tuple[str, ...]


def export_snapshot(snapshot: Snapshot, request: ExportRequest, encode: Encode, report: Report) -> Export:
    """Write a snapshot's pairs, a card and Croissant metadata into a folder that appears whole or not at all.

    Args:
        snapshot: of which.
        request: what and where.
        encode: makes a PNG file of a picture, uint8 `(H, W)` or `(H, W, 3)` RGB.
        report: told `(what, done, total)` after every pair.

    Raises:
        InputError: the folder is not empty or cannot be written, no split is named, no pair is left, a licence is refused, or the layout
            cannot tell which modality is which.
        UnknownName: there is no such layout or split.
        StoreError: a pair's image is lost.
    """
    _check_request(request)
    metrics, entries = list_entries(snapshot, request.splits)
    kept, notes = apply_policy(entries, request)
    draft = request.out.parent / f".{request.out.name}.{uuid.uuid4().hex}"
    try:
        draft.mkdir(parents=True)
        job = Job(
            folder=draft,
            entries=kept,
            metrics=metrics,
            read=lambda some: read_pictures(snapshot, some, encode, report),
            shard_bytes=request.shard_bytes,
            visible=request.visible,
        )
        described = LAYOUTS[request.layout](job)
        notes = (*notes, *described.notes)
        _write_papers(snapshot, request, described, draft, notes)
        draft.replace(request.out)
    except OSError as error:
        raise InputError(
            f"{request.out} cannot be written ({error.strerror or error}); nothing was left there: free space, or name another folder"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    counts = {split: sum(one.pair.split == split for one in described.entries) for split in request.splits}
    return Export(folder=request.out, counts=counts, notes=notes)


def list_entries(snapshot: Snapshot, splits: Sequence[str]) -> tuple[tuple[str, ...], tuple[Entry, ...]]:
    """The metrics of a snapshot, and its pairs with a winner in some splits, ordered by pair_id.

    Raises:
        InputError: there is no such pair, or the snapshot was made before there were splits.
    """
    table = snapshot.table("pairs")
    if "split" not in table.column_names:
        raise InputError(f"snapshot {snapshot.id} has no train, val and test splits; build it again with this release, which adds them")
    pairs = {one.pair_id: one for one in to_pair_rows(table)}
    selections = to_selection_rows(snapshot.table("selections"))
    chosen = [one for one in selections if pairs[one.pair_id].split in splits]
    if not chosen:
        raise InputError(f"snapshot {snapshot.id} has no pair with a winner in {', '.join(splits)}; name other splits with --split")
    metrics, scores = _find_scores(snapshot)
    stems = make_stems([one.pair_id for one in selections])  # of all, so that a pair has the same name in every export of the snapshot
    methods = snapshot.manifest.get("methods", {})
    entries = (
        Entry(
            pair=pairs[one.pair_id],
            selection=one,
            stem=stems[one.pair_id],
            # older snapshots name the licences of live methods alone, and elsewhere
            method_licence=one.licence or methods.get(one.method, {}).get("licence", ""),
            scores=scores.get(one.content_key, {}),
        )
        for one in chosen
    )
    return metrics, tuple(sorted(entries, key=lambda one: one.pair.pair_id))


def apply_policy(entries: tuple[Entry, ...], request: ExportRequest) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """The entries that the policy lets through, and sentences on those it does not.

    Raises:
        InputError: it refuses some and they are not to be left out, or it refuses all.
    """
    if request.policy == "any":
        return entries, ()
    common = [Claim(licence, f"metric {name}") for name, licence in request.metric_licences.items()]
    refusals = find_refusals({one.pair.pair_id: (*one.list_claims(), *common) for one in entries}, request.allow)
    refused = {pair_id for one in refusals for pair_id in one.pair_ids}
    kept = tuple(one for one in entries if one.pair.pair_id not in refused)
    if refused and (request.refused == "stop" or not kept):
        raise InputError(describe_refusals(refusals, len(entries)))
    if not refused:
        return kept, ()
    logger.warning("%d of %d pairs are not known to be usable commercially: left out", len(refused), len(entries))
    return kept, (f"{len(refused)} of {len(entries)} pairs are left out: they are not known to be usable commercially.",)


def read_pictures(snapshot: Snapshot, entries: Sequence[Entry], encode: Encode, report: Report) -> Iterator[tuple[Entry, Pictures]]:
    """The encoded pictures of some entries in their order, a few read ahead."""

    def read(entry: Entry) -> Pictures:
        found = snapshot.pictures(entry.pair.pair_id)
        return Pictures(encode(found["a"]), encode(found["b"]), encode(found["winner"]))

    waiting: deque[tuple[Entry, Future[Pictures]]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            left = iter(entries)
            done = 0
            while True:
                while len(waiting) < AHEAD and (entry := next(left, None)) is not None:
                    waiting.append((entry, pool.submit(read, entry)))
                if not waiting:
                    return
                first, future = waiting.popleft()
                yield first, future.result()
                done += 1
                report("exported", done, len(entries))
        finally:
            pool.shutdown(cancel_futures=True)


def _check_request(request: ExportRequest) -> None:
    if request.layout not in LAYOUTS:
        raise unknown_name("layout", request.layout, LAYOUTS)
    if not request.splits:
        raise InputError(f"no split is named, so there is nothing to export; name some of {', '.join(SPLITS)} with --split")
    unknown = [name for name in request.splits if name not in SPLITS]
    if unknown:
        raise unknown_name("split", unknown[0], SPLITS)
    if not all(text.strip() for text in request.allow):
        raise InputError("--allow was given an empty text; where no licence is stated, write it into the recipe and build again")
    out = request.out
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise InputError(f"{out} is there and not an empty folder; name another one")


def _find_scores(snapshot: Snapshot) -> tuple[tuple[str, ...], dict[str, dict[str, float]]]:
    """The metrics, and every winner's scores by its content key; those that are undefined are left out."""
    table = snapshot.table("scores")
    winners = snapshot.table("selections", ["content_key"])["content_key"]
    names = {name: spell_plainly(name) for name in metric_columns(table.schema)}  # iqa:fsim would be read as a path or an address elsewhere
    rows = table.filter(pc.is_in(table["content_key"], value_set=winners.combine_chunks())).select(["content_key", *names]).to_pylist()
    scores = {row["content_key"]: {new: row[old] for old, new in names.items() if _is_number(row[old])} for row in rows}
    return tuple(names.values()), scores


def _is_number(value: float | None) -> bool:
    return value is not None and bool(np.isfinite(value))


def _write_papers(snapshot: Snapshot, request: ExportRequest, described: Description, folder: Path, notes: tuple[str, ...]) -> None:
    """Write the card and the Croissant metadata."""
    entries, manifest = described.entries, snapshot.manifest
    text = card.write_card(
        described,
        snapshot_id=snapshot.id,
        manifest=manifest,
        metric_licences=request.metric_licences,
        policy=request.policy,
        allowed=request.allow,
        notes=notes,
    )
    (folder / card.FILE).write_text(text, encoding="utf-8")
    metadata = croissant.make_croissant(
        name=f"fusion-knowledge-prior-{snapshot.id}",
        about=card.summarise(entries, snapshot.id, str(manifest.get("criterion", {}).get("name", ""))),
        snapshot_id=snapshot.id,
        published=_find_time(snapshot),
        licences=card.list_licences(entries, request.metric_licences),
        citation=card.CITATION,
        keywords=card.list_keywords(entries),
        distribution=described.distribution,
        record_sets=described.record_sets,
    )
    (folder / croissant.FILE).write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _find_time(snapshot: Snapshot) -> datetime:
    """When the snapshot was committed."""
    return next(iter(snapshot.store.repository.ancestry(snapshot_id=snapshot.id))).written_at
