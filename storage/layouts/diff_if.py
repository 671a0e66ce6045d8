"""The layout that the published trainer of Diff-IF reads: three folders of equal names per split.

Infrared and visible pairs lie in `Infrared`, `Visible` and `Fusion_K`, medical ones in `MRI`, `CT-PET-SPECT` and `Fusion_K`; `train` and
`eval` are the roots that its settings name. Other tasks, of which it knows nothing, lie the same way under the names of their modalities.
The trainer cuts crops of 128 px and does not pad, so smaller pairs stay out.
"""

import csv
import logging
import re
from collections.abc import Mapping, Sequence

from storage.errors import InputError
from storage.layouts import PICTURES, Description, Entry, Job, Json, clean, croissant, describe_entry, list_scores
from storage.schema import TEST, TRAIN, VAL

logger = logging.getLogger(__name__)

TARGET = "Fusion_K"
ROOTS = {TRAIN: "train", VAL: "eval", TEST: "test"}
CROP = 128  # px
TABLE = "pairs.csv"
FACTS = {"file": "path of the picture", "sha256": "sha256 of the file of the picture"}
"""What the table says of each picture."""

THERMAL = frozenset({"ir", "infrared", "thermal", "lwir", "mwir", "swir", "nir", "fir", "tir"})
VISIBLE = frozenset({"vis", "visible", "vi", "rgb", "colour", "color", "optical"})
RESONANCE = frozenset({"mri", "mr", "t1", "t2", "pd", "flair"})
FUNCTIONAL = frozenset({"ct", "pet", "spect"})

ROLES = {
    "infrared-visible": (("Infrared", THERMAL), ("Visible", VISIBLE)),
    "medical": (("MRI", RESONANCE), ("CT-PET-SPECT", FUNCTIONAL)),
}
"""By task: the two folders, and the words that tell which modality goes there. The second is the one that has the colour."""

Sides = dict[str, str]
"""The folder of `a`, of `b` and of the target."""


def write(job: Job) -> Description:
    """Write the folders, and `pairs.csv`, which says which file is which pair.

    Raises:
        InputError: of a source it cannot be told which modality is which, or no pair is large enough.
    """
    entries = tuple(one for one in job.entries if min(one.pair.height, one.pair.width) >= CROP)
    if not entries:
        raise InputError(f"no pair is at least {CROP} px on each side, which the trainer of Diff-IF needs; choose another layout")
    tasks = sorted({one.pair.task for one in entries})
    homes = {task: f"{task}/" if len(tasks) > 1 else "" for task in tasks}
    sides = _choose_sides(entries, job.visible)
    _write_pairs(job, entries, homes, sides)
    folders = sorted({f"{homes[task]}*/{folder}" for (_, task), named in sides.items() for folder in named.values()})
    return Description(
        entries=entries,
        notes=(*_tell_small(len(job.entries) - len(entries)), *_tell_missing(entries, tasks)),
        loading=_explain(tasks, homes, sides),
        distribution=[croissant.describe_file(job.folder, job.folder / TABLE, croissant.CSV), *map(_describe_folder, folders)],
        record_sets=_describe_records(folders, job.metrics),
    )


def _write_pairs(job: Job, entries: Sequence[Entry], homes: Mapping[str, str], sides: Mapping[tuple[str, str], Sides]) -> None:
    scores = [f"score_{name}" for name in job.metrics]
    files = [f"{name}_{fact}" for name in PICTURES for fact in FACTS]
    with (job.folder / TABLE).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*croissant.COLUMNS, *scores, *files], lineterminator="\n")
        writer.writeheader()
        for entry, pictures in job.read(entries):
            pair = entry.pair
            paths = {
                name: f"{homes[pair.task]}{ROOTS[pair.split]}/{folder}/{entry.stem}.png"
                for name, folder in sides[pair.source, pair.task].items()
            }
            for name, path in paths.items():
                (job.folder / path).parent.mkdir(parents=True, exist_ok=True)
                (job.folder / path).write_bytes(getattr(pictures, name))
            writer.writerow(
                {
                    **describe_entry(entry),
                    **list_scores(entry),
                    **{f"{name}_file": path for name, path in paths.items()},
                    **pictures.hashes(),
                }
            )


def find_role(modality: str, task: str) -> str:
    """The folder that a modality belongs to by its name ("ir_warped" is infrared); empty where the name does not tell."""
    words = {word for form in ("[a-z]+", "[a-z]+[0-9]") for word in re.findall(form, modality.casefold())}
    found = [folder for folder, known in ROLES[task] if words & known]
    return found[0] if len(found) == 1 else ""


def _tell_small(count: int) -> tuple[str, ...]:
    if not count:
        return ()
    logger.warning("%d pairs have a side under %d px, which the trainer of Diff-IF cannot crop: left out", count, CROP)
    return (f"{count} pairs are left out: a side is under {CROP} px, which the trainer of Diff-IF cannot crop.",)


def _tell_missing(entries: Sequence[Entry], tasks: Sequence[str]) -> tuple[str, ...]:
    """The trainer wants pairs to train on and pairs to evaluate on."""
    there = {(one.pair.task, one.pair.split) for one in entries}
    lacking = [(task, ROOTS[split]) for task in tasks for split in (TRAIN, VAL) if (task, split) not in there]
    for task, root in lacking:
        logger.warning("there are no %s pairs for `%s`; the trainer of Diff-IF wants both train and eval", task, root)
    return tuple(f"There are no {task} pairs for `{root}`." for task, root in lacking)


def _choose_sides(entries: Sequence[Entry], visible: str) -> dict[tuple[str, str], Sides]:
    """Which folder each picture goes to, by source and task."""
    members: dict[tuple[str, str], list[Entry]] = {}
    for one in entries:
        members.setdefault((one.pair.source, one.pair.task), []).append(one)
    plain = {task: _name_plainly([one for one in entries if one.pair.task == task]) for _, task in members if task not in ROLES}
    return {key: plain[key[1]] if key[1] in plain else _assign(many, key[1], visible) for key, many in members.items()}


def _name_plainly(entries: Sequence[Entry]) -> Sides:
    """The modalities' names, where all pairs of a task share them and they can be folders."""
    named = {(clean(one.pair.a_modality), clean(one.pair.b_modality)) for one in entries}
    a, b = next(iter(named)) if len(named) == 1 else ("", "")
    usable = a and b and len({a.casefold(), b.casefold(), TARGET.casefold()}) == 3
    return {"a": a, "b": b, "target": TARGET} if usable else {"a": "A", "b": "B", "target": TARGET}


def _assign(entries: Sequence[Entry], task: str, visible: str) -> Sides:
    """The folders of one source: by the modalities' names, else as the user says, else by which source has colour.

    Raises:
        InputError: none of these tells.
    """
    (first, _), (second, _) = ROLES[task]
    second_is = _find_second_by_name(entries, task) or visible or _find_colour(entries)
    if not second_is:
        pair = entries[0].pair
        raise InputError(
            f"it cannot be told whether {pair.a_modality!r} (a) or {pair.b_modality!r} (b) of {pair.source or 'the pairs'} is {second}: "
            f"neither name says so, and not one of the two alone has colour; say --visible a or --visible b, or name a_modality and "
            "b_modality in the recipe"
        )
    return {"a": second, "b": first, "target": TARGET} if second_is == "a" else {"a": first, "b": second, "target": TARGET}


def _find_second_by_name(entries: Sequence[Entry], task: str) -> str:
    """Which source goes into the second folder by the names of the modalities; one name is enough, two must not contradict."""
    (first, _), (second, _) = ROLES[task]
    roles = {(find_role(one.pair.a_modality, task), find_role(one.pair.b_modality, task)) for one in entries}
    if roles <= {(first, second), (first, ""), ("", second)}:
        return "b"
    return "a" if roles <= {(second, first), (second, ""), ("", first)} else ""


def _find_colour(entries: Sequence[Entry]) -> str:
    """The one source that has colour where the other has none; empty where pairs disagree or none tells."""
    votes = {"a" if a else "b" for a, b in ((_has_colour(one.pair.a_format), _has_colour(one.pair.b_format)) for one in entries) if a != b}
    return votes.pop() if len(votes) == 1 else ""


def _has_colour(form: str) -> bool:
    """Whether a file held colour, from `PairRow.a_format`; of a palette that is not known."""
    return bool(form) and "grey" not in form and "palette" not in form


def _describe_folder(folder: str) -> Json:
    return croissant.describe_files(_name_set(folder), f"{folder}/*.png", croissant.PNG)


def _name_set(folder: str) -> str:
    return folder.replace("/*/", "-").replace("*/", "")


def _describe_records(folders: Sequence[str], metrics: Sequence[str]) -> list[Json]:
    """The table, and per folder its pictures with the pair each belongs to."""
    table = {"fileObject": {"@id": TABLE}}
    fields = croissant.describe_columns("pairs", metrics, table)
    for name in PICTURES:
        for fact, meaning in FACTS.items():
            source = {**table, "extract": {"column": f"{name}_{fact}"}}
            fields.append(croissant.describe_field("pairs", f"{name}_{fact}", croissant.TEXT, f"{meaning} {name}", source))
    return [croissant.describe_records("pairs", "One row per pair.", fields, "pair_id"), *map(_describe_pictures, folders)]


def _describe_pictures(folder: str) -> Json:
    name = f"{_name_set(folder)}-pictures"
    files = {"fileSet": {"@id": _name_set(folder)}}
    stem = {**files, "extract": {"fileProperty": "filename"}, "transform": {"regex": r"^(.+?)(?:\.png)?$"}}
    belongs = {"references": {"fileObject": {"@id": TABLE}, "extract": {"column": "stem"}}}
    columns = (("pair_id", "the pair's id in the snapshot"), ("split", "train, val or test"))
    fields = [
        croissant.describe_field(name, "picture", croissant.IMAGE, "the picture", {**files, "extract": {"fileProperty": "content"}}),
        croissant.describe_field(name, "stem", croissant.TEXT, "the pair's name in file names", stem) | belongs,
        *(
            croissant.describe_field(name, column, croissant.TEXT, about, {"fileObject": {"@id": TABLE}, "extract": {"column": column}})
            for column, about in columns
        ),
    ]
    return croissant.describe_records(name, f"The pictures of the folders {_name_set(folder)}.", fields)


def _explain(tasks: Sequence[str], homes: Mapping[str, str], sides: Mapping[tuple[str, str], Sides]) -> str:
    named = {task: sorted({folder for (_, one), many in sides.items() if one == task for folder in many.values()}) for task in tasks}
    rows = "\n".join(f"- {task}: `{homes[task]}{{train,eval,test}}/{{{','.join(named[task])}}}/<stem>.png`" for task in tasks)
    return (
        "The published trainer of Diff-IF reads this folder as it is: in its settings, name the folder `train` as the root of the training "
        "set and `eval` as that of the evaluation set. A pair has one name in all folders, so sorted lists of their files pair them.\n\n"
        f"{rows}\n\n`{TARGET}` holds the winners. `{TABLE}` says which pair of the snapshot each name is, who won it and by how much, and "
        "has the sha256 of every picture. The pairs in `test` belong to neither training nor evaluation."
    )
