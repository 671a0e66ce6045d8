"""Small stores as builds make them: images, candidates, tables that agree, and a seal with every snapshot."""

import itertools
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from storage.files import hash_bytes
from storage.planes import stack
from storage.repository import CANDIDATES, IMAGES, Draft, ImageChange, Store, array_path, find_head
from storage.schema import FAILED, OK, PAIRS, SCHEMA_VERSION, SELECTIONS, PairRow, ScoreRow, SelectionRow, scores_schema
from storage.seals import write_seal
from storage.snapshot import Snapshot
from storage.tables import to_selection_rows, to_table, write_table

SIDE = 24  # 576 bytes a plane: more than Icechunk keeps in a manifest
serial = itertools.count()


def draw(pair_id: str, seed: int) -> dict[str, np.ndarray]:
    """The pictures of a pair: the sources are always the same, the winner is another one for every seed."""
    first = np.random.default_rng(zlib.crc32(pair_id.encode()))
    second = np.random.default_rng([seed, zlib.crc32(pair_id.encode())])
    return {name: rng.integers(0, 256, (SIDE, SIDE), np.uint8) for name, rng in (("a", first), ("b", first), ("winner", second))}


def grow(store: Store, wanted: Mapping[str, int], *, candidates: bool = False, tag: str = "", seal: bool = True) -> str:
    """Publish a snapshot with these pairs, each with the seed of its winner; images that `main` has already are not written again."""
    head = find_head(store)
    older = {}
    if store.repository.lookup_snapshot(head).parent_id is not None:
        older = {row.pair_id: row for row in to_selection_rows(Snapshot(store, head).table("selections"))}
    rows = {pair_id: _select(pair_id, seed, candidates) for pair_id, seed in wanted.items()}
    with Draft(store, head) as draft:
        for pair_id, seed in wanted.items():
            was = older.get(pair_id)
            is_same = was is not None and was.image_hash == rows[pair_id].image_hash
            if not is_same:
                _put_image(draft, pair_id, seed)
            if candidates and not (is_same and was and was.candidate_planes):
                _put_candidates(draft, pair_id, seed)
        for pair_id in older:
            if pair_id not in wanted:
                draft.delete(IMAGES, pair_id)
            if pair_id not in wanted or not candidates:
                draft.delete(CANDIDATES, pair_id)
        scores = [row for pair_id, seed in wanted.items() for row in _score(pair_id, seed)]
        references = {
            "pairs": write_table(store.files, "pairs", to_table([_name(one) for one in wanted], PAIRS)),
            "scores": write_table(store.files, "scores", to_table(scores, scores_schema(("ssim",)))),
            "selections": write_table(store.files, "selections", to_table(rows.values(), SELECTIONS)),
        }
        manifest = {
            "schema_version": SCHEMA_VERSION if seal else 2,
            "serial": next(serial),
            "tables": {name: one.to_json() for name, one in references.items()},
        }
        snapshot_id = draft.commit(f"{len(wanted)} pairs", manifest, {"pairs": len(wanted)})
        if seal:
            write_seal(store, snapshot_id, draft, references.values())
        draft.publish(tag)
    return snapshot_id


def list_all(store: Store) -> dict[str, bytes]:
    """Every file of a store in a folder, by path."""
    root = store.files.location.folder
    assert root is not None
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def place(store: Store, path: str) -> Path:
    """Where a file of a store in a folder lies."""
    assert store.files.location.folder is not None
    return store.files.location.folder / path


def _put_image(draft: Draft, pair_id: str, seed: int) -> None:
    planes, names = stack(draw(pair_id, seed))
    draft.put(IMAGES, pair_id, ImageChange(planes, names, {"winner": "average", "pair_hash": f"hash of {pair_id}"}))


def _put_candidates(draft: Draft, pair_id: str, seed: int) -> None:
    planes, names = stack(_draw_candidates(pair_id, seed))
    draft.put(CANDIDATES, pair_id, ImageChange(planes, names, {"content_keys": [row.content_key for row in _score(pair_id, seed)]}))


def _draw_candidates(pair_id: str, seed: int) -> dict[str, np.ndarray]:
    return {"average": draw(pair_id, seed)["winner"], "maximum": draw(pair_id, seed + 100)["winner"]}


def _name(pair_id: str) -> PairRow:
    array = array_path(IMAGES, pair_id)
    return PairRow(pair_id=pair_id, source="s", task="medical", status=OK, pair_hash=f"hash of {pair_id}", array=array)


def _score(pair_id: str, seed: int) -> tuple[ScoreRow, ...]:
    average = ScoreRow(
        pair_id=pair_id, method="average", version="1", content_key=f"average/{pair_id}/{seed}", status=OK, scores={"ssim": 1.0 + seed}
    )
    maximum = replace(average, method="maximum", content_key=f"maximum/{pair_id}/{seed}", scores={"ssim": 0.5})
    return average, maximum, replace(average, method="gff", content_key=f"gff/{pair_id}/{seed}", status=FAILED, reason="raised", scores={})


def _select(pair_id: str, seed: int, candidates: bool) -> SelectionRow:
    return SelectionRow(
        pair_id=pair_id,
        method="average",
        content_key=f"average/{pair_id}/{seed}",
        value=1.0 + seed,
        image_hash=hash_bytes(stack(draw(pair_id, seed))[0].data),
        planes=3,
        candidate_planes=2 if candidates else 0,
    )
