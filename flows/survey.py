"""The survey: a cheap look at every file before any work, in parallel: are the pairs usable, do they fit, are published results theirs."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from distributed import Client

from flows.cluster import run_all
from flows.progress import Report
from flows.recipe import Recipe, SourceBlock
from flows.words import describe_death, name_first
from prior.groups import Scene, assign_splits
from prior.pairs import Inspection, PairRef, flag_duplicates, inspect, scan, set_aside
from prior.pictures import show_path
from prior.published import PublishedFile, fail_all, find_files, index_published, inspect_published
from prior.signatures import PairSignature, SignatureGroup, group_signatures
from storage.schema import EXCLUDED, OK, QUARANTINED, PairRow
from storage.snapshot import Snapshot
from storage.tables import to_pair_rows


@dataclass(frozen=True, slots=True)
class Survey:
    """Every pair that was asked for.

    Attributes:
        rows: one per pair, in the order of the ids, those that cannot be used included.
        refs: by pair_id, the files of the pairs that could be looked at.
        blocks: by source name, what the recipe says of it.
        published: by pair_id, the published results of every method.
        orphans: pictures without a partner.
        clutter: files that are no pictures.
        warnings: sentences for the user.
    """

    rows: tuple[PairRow, ...]
    refs: Mapping[str, PairRef]
    blocks: Mapping[str, SourceBlock]
    published: Mapping[str, tuple[PublishedFile, ...]]
    orphans: tuple[Path, ...]
    clutter: tuple[Path, ...]
    warnings: tuple[str, ...]

    def usable(self) -> Iterator[tuple[PairRef, PairRow]]:
        """The pairs that candidates are made for."""
        return ((self.refs[row.pair_id], row) for row in self.rows if row.status == OK)


def take_survey(recipe: Recipe, client: Client, report: Report, newest: Snapshot | None = None) -> Survey:
    """Look at every pair and every published result that a recipe names.

    Args:
        recipe: what is asked for.
        client: of the Dask cluster that looks.
        report: told of progress.
        newest: the newest snapshot, whose pairs keep their groups and splits.

    Raises:
        InputError: a folder is missing, or nothing pairs.
    """
    blocks = {block.name: block for block in recipe.source}
    found = scan([block.to_source() for block in recipe.source])
    excluded = tuple(_exclude(ref) for ref in found.pairs if ref.pair_id in recipe.exclude)
    refs = {ref.pair_id: ref for ref in found.pairs if ref.pair_id not in recipe.exclude}
    inspections = _inspect_all(refs, recipe.max_shift, client, report)
    rows = flag_duplicates(sorted((*found.refused, *excluded, *(one.row for one in inspections)), key=lambda row: row.pair_id))
    scenes = [_see(one.row, one.signature, blocks, refs) for one in inspections if one.signature]
    rows = assign_splits(rows, scenes, to_pair_rows(newest.table("pairs")) if newest else [])
    published, clutter = _inspect_published(recipe, refs, inspections, client, report)
    found_warnings = (text for one in inspections for text in one.warnings)
    warnings = (*found_warnings, *_warn_of_names(recipe, rows), *_warn_of_subjects(blocks, scenes))
    return Survey(rows, refs, blocks, published, found.orphans, (*found.clutter, *clutter), warnings)


def quarantine(survey: Survey, problems: Mapping[str, tuple[str, str]]) -> Survey:
    """The survey with pairs set aside whose files could not be read any more, by pair_id as (reason, sentence)."""
    rows = []
    for row in survey.rows:
        reason, message = problems.get(row.pair_id, ("", ""))
        rows.append(replace(row, status=QUARANTINED, reason=reason, message=f"pair {row.pair_id}: {message}") if reason else row)
    return replace(survey, rows=tuple(rows))


def _exclude(ref: PairRef) -> PairRow:
    message = f"{ref.pair_id} stands in the recipe's exclude list"
    return PairRow(
        pair_id=ref.pair_id,
        source=ref.source.name,
        task=ref.source.task,
        status=EXCLUDED,
        reason="excluded",
        message=message,
        a_path=show_path(ref.a),
        b_path=show_path(ref.b),
    )


def _inspect_all(refs: Mapping[str, PairRef], max_shift: float | None, client: Client, report: Report) -> list[Inspection]:
    inspections: list[Inspection] = []
    for one in run_all(client, functools.partial(inspect, max_shift=max_shift), refs.values(), give_up=_give_up_pair):
        inspections.append(one)
        report("inspecting pairs", len(inspections), len(refs))
    return sorted(inspections, key=lambda one: one.row.pair_id)


def _give_up_pair(ref: PairRef) -> Inspection:
    return Inspection(row=set_aside(ref, "killed", describe_death("inspecting it")))


def _see(row: PairRow, signed: PairSignature, blocks: Mapping[str, SourceBlock], refs: Mapping[str, PairRef]) -> Scene:
    pattern = blocks[row.source].subject
    fits = re.search(pattern, refs[row.pair_id].key) if pattern else None
    return Scene(row, signed, fits[1] if fits else None)


@dataclass(frozen=True, slots=True)
class _Search:
    """One pair whose published results are to be checked."""

    pair_id: str
    size: tuple[int, int]
    files: Mapping[str, tuple[Path, ...]]


def _inspect_published(
    recipe: Recipe, refs: Mapping[str, PairRef], inspections: Sequence[Inspection], client: Client, report: Report
) -> tuple[dict[str, tuple[PublishedFile, ...]], tuple[Path, ...]]:
    """Check every published result against the signatures of all pairs, which are gathered first."""
    indices = {block.name: index_published(block.published) for block in recipe.source if block.published}
    if not indices:
        return {}, ()
    signed = [one.signature for one in inspections if one.signature]
    # not scattered: what is scattered is lost for good when the workers that have it die, and what a task made is made again
    groups = client.submit(group_signatures, signed, pure=False)
    searches = [
        _Search(one.pair_id, one.size, find_files(indices[refs[one.pair_id].source.name], refs[one.pair_id]))
        for one in signed
        if refs[one.pair_id].source.name in indices
    ]
    checked: dict[str, tuple[PublishedFile, ...]] = {}
    for pair_id, files in run_all(client, _check_search, searches, groups, give_up=_give_up_search):
        checked[pair_id] = files
        report("checking published results", len(checked), len(searches))
    return checked, tuple(path for index in indices.values() for path in index.clutter)


def _check_search(search: _Search, groups: Mapping[tuple[int, int], SignatureGroup]) -> tuple[str, tuple[PublishedFile, ...]]:
    return search.pair_id, inspect_published(search.pair_id, search.size, search.files, groups[search.size])


def _give_up_search(search: _Search) -> tuple[str, tuple[PublishedFile, ...]]:
    message = describe_death("checking the published results of this pair")
    return search.pair_id, fail_all(search.pair_id, search.files, "killed", message)


def _warn_of_names(recipe: Recipe, rows: Sequence[PairRow]) -> Iterator[str]:
    """What the recipe says of pairs that are not there."""
    known = {row.pair_id for row in rows}
    for field, names in (("exclude", recipe.exclude), ("winners", recipe.winners)):
        for name in names:
            if name not in known:
                yield f"{field} in the recipe names pair {name!r}, which is not there; `fusion-prior pairs` lists every id"


def _warn_of_subjects(blocks: Mapping[str, SourceBlock], scenes: Sequence[Scene]) -> Iterator[str]:
    """Pairs whose subject is not found may be torn from their series without anybody noticing."""
    for block in blocks.values():
        nameless = [scene.row.pair_id for scene in scenes if scene.row.source == block.name and scene.subject is None]
        if block.subject and nameless:
            named = name_first(nameless)
            yield f"subject = {block.subject!r} does not fit {len(nameless)} pairs ({named}); they are grouped by their looks alone"
