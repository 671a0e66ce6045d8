"""Repair: puts back what is lost or damaged, under the same snapshot ids, and looks again at what it touched.

Small files come back from the copies in the seals, chunks from whatever still gives the same bytes (`flows.remake`). Nothing is written but
what has the sealed sha256, and what cannot be had is named with the reason.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from flows.progress import Report, stay_silent
from flows.remake import Remaker
from storage.errors import FusionPriorError, StoreError
from storage.files import Files, parse_location
from storage.findings import DAMAGED, MISSING, MODELS, REFERENCE, SEAL, Finding
from storage.locks import IfHeld, hold_lock
from storage.references import read_references
from storage.repository import open_store
from storage.reseal import restore_reference, seal_again
from storage.seals import SNAPSHOTS, SealedFile, read_contents
from storage.verify import Look, Verification, verify_store

logger = logging.getLogger(__name__)

HOPELESS = "what is written contradicts itself, and no copy of anything else was ever kept; build it again into another store"
UNSEALED = (
    "it was made by an earlier release, which kept no seals, so that it cannot be put back in place; build it again into another store: "
    "fusion-prior build --recipe … --store OTHER"
)


@dataclass(frozen=True, slots=True)
class Left:
    """A damage that stays, and why."""

    finding: Finding
    reason: str


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair ended with.

    Attributes:
        repaired: the damages that were mended, in their order.
        left: those that stay.
        verification: of the store afterwards.
    """

    repaired: tuple[Finding, ...]
    left: tuple[Left, ...]
    verification: Verification


def repair_store(address: str, *, who: str = "a repair", if_held: IfHeld = "wait", report: Report = stay_silent) -> Repair:
    """Mend what can be mended in a store, in place.

    Args:
        address: the store's.
        who: named to those who want to build into the store meanwhile.
        if_held: what to do while a build of the store runs.
        report: told of progress.

    Raises:
        StoreError: there is no store at this address, or it cannot be written.
        StoreBusy: a build of the store runs, and it was not to be waited for.
    """
    files = Files(parse_location(address))
    if not files.list(SNAPSHOTS):
        open_store(address)  # says that there is none
    with hold_lock(files, "build", who, if_held=if_held):
        found = verify_store(address, report=report)
        repaired: dict[str, Finding] = {}
        while True:
            reasons: dict[str, str] = {}
            mended = _mend(address, found, [one for one in found.findings if one.where not in repaired], reasons, report)
            for one in mended:
                logger.info("mended: %s", one.sentence)
            repaired |= {one.where: one for one in mended}
            if not mended:
                left = tuple(Left(one, reasons.get(one.where, "it was put back, and is damaged again")) for one in found.findings)
                return Repair(tuple(repaired.values()), left, found)
            found = verify_store(address, report=report, proven=found.proven)


def _mend(address: str, found: Verification, wanted: Sequence[Finding], reasons: dict[str, str], report: Report) -> list[Finding]:
    """One round: of all kinds of damage the first that anything can be done about, for the others rest on it."""
    references = [one for one in wanted if one.kind == REFERENCE]
    mended = [one for one in references if _mend_reference(Files(parse_location(address)), one, reasons)]
    if mended or not wanted or (references and not found.snapshots):
        return mended
    look = Look(address)
    rows = look.list_sealed(look.history.snapshots)
    lost = [one for one in wanted if one.kind in (MISSING, DAMAGED)]
    small = [one for one in lost if not rows[one.where][0].array]
    chunks = [one for one in lost if one not in small]
    others = [one for one in wanted if one not in lost and one.kind not in (SEAL, REFERENCE)]
    for one in others:
        reasons[one.where] = _explain(look, one)
    mended = [one for one in small if _mend_small(look, rows[one.where], reasons)]
    if not mended and chunks:
        mended = _mend_chunks(look, chunks, [rows[one.where][0] for one in chunks], found, reasons, report)
    if not mended:
        hurt = {name for one in found.findings if one.kind != SEAL for name in one.snapshots}
        mended = [one for one in wanted if one.kind == SEAL and _mend_seal(look, one, hurt, reasons)]
    return mended


def _mend_reference(files: Files, finding: Finding, reasons: dict[str, str]) -> bool:
    snapshots = [path.removeprefix(f"{SNAPSHOTS}/") for path in files.list(SNAPSHOTS)]
    for one in read_references(files):
        if f"{one.kind} {one.name}" == finding.where and restore_reference(files, one, snapshots):
            return True
    kind, _, name = finding.where.partition(" ")
    reasons[finding.where] = (
        f"what is left of it fits no snapshot, or several; restore repository/refs/{kind}.{name}/ref.json from a backup, or write "
        '{"snapshot":"ID"} into it with the id of the snapshot it named (seals/ holds a file for each, named after it)'
    )
    return False


def _mend_small(look: Look, rows: Sequence[SealedFile], reasons: dict[str, str]) -> bool:
    """Write a small file anew from a seal's copy."""
    wanted = rows[0]
    files = look.store.files
    for seal in look.seals.valid:
        if any((one.path, one.sha256) == (wanted.path, wanted.sha256) for one in seal.files):
            files.write(wanted.path, read_contents(files, seal)[wanted.sha256])
            return True
    reasons[wanted.path] = "no seal has a copy of it"
    return False


def _mend_chunks(
    look: Look, findings: Sequence[Finding], sealed: Sequence[SealedFile], found: Verification, reasons: dict[str, str], report: Report
) -> list[Finding]:
    """Make lost chunks again, one by one."""
    remaker = Remaker(look, found.proven)
    mended = []
    by_array = sorted(zip(findings, sealed, strict=True), key=lambda both: both[1].array)
    for done, (finding, one) in enumerate(by_array, 1):
        try:
            look.store.files.write(one.path, remaker.remake(one))
            mended.append(finding)
        except FusionPriorError as error:
            reasons[finding.where] = str(error)
        report("making images again", done, len(findings))
    return mended


def _mend_seal(look: Look, finding: Finding, hurt: set[str], reasons: dict[str, str]) -> bool:
    """Seal a snapshot again that is whole in everything else."""
    (snapshot_id,) = finding.snapshots
    if snapshot_id in hurt:
        reasons[finding.where] = f"snapshot {snapshot_id} is damaged, and what is damaged is not sealed"
        return False
    try:
        path = seal_again(look.store, snapshot_id, look.seals)
    except StoreError as error:
        reasons[finding.where] = str(error)
        return False
    if finding.where in look.seals.damaged and finding.where != path:
        look.store.files.delete(finding.where)
    return True


def _explain(look: Look, finding: Finding) -> str:
    if finding.kind == MODELS:
        return "weights are not made again"  # the sentence says what to do
    is_sealed = any(look.seals.of(name) for name in finding.snapshots)
    return HOPELESS if is_sealed else UNSEALED
