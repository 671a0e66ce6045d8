"""Croissant 1.0 metadata (MLCommons): what files there are, what can be read from them, and under which licences.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from storage.layouts import Json
from storage.licences import find_spdx

FILE = "croissant.json"
FORMAT = "1.0.0"  # of the folders that are written; a Croissant version must begin like this, the snapshot stands behind it
CONFORMS_TO = "http://mlcommons.org/croissant/1.0"
PNG, CSV, PARQUET, TAR = "image/png", "text/csv", "application/x-parquet", "application/x-tar"
TEXT, INTEGER, FLOAT, IMAGE = "sc:Text", "sc:Integer", "sc:Float", "sc:ImageObject"

_OURS = (
    "citeAs",
    "column",
    "extract",
    "field",
    "fileProperty",
    "fileObject",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
)
_OURS_TOO = ("md5", "parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator", "source")
CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in (*_OURS, *_OURS_TOO, "subField", "transform")},
}

COLUMNS: Mapping[str, tuple[str, str]] = {
    "pair_id": (TEXT, "the pair's id in the snapshot"),
    "stem": (TEXT, "the pair's name in file names"),
    "split": (TEXT, "train, val or test; scenes are never split"),
    "source": (TEXT, "the data set"),
    "task": (TEXT, "infrared-visible, medical, multi-focus or multi-exposure"),
    "a_modality": (TEXT, "what a is an image of"),
    "b_modality": (TEXT, "what b is an image of"),
    "height": (INTEGER, "px"),
    "width": (INTEGER, "px"),
    "method": (TEXT, "the method whose candidate won"),
    "value": (FLOAT, "the winner's value under the criterion, the larger the better"),
    "runner_up": (TEXT, "the method that came second"),
    "margin": (FLOAT, "by how much the winner was better"),
    "flags": (TEXT, "what a user should know, separated by spaces"),
    "group": (TEXT, "the scene; pairs of one scene share it"),
    "licence": (TEXT, "of the pictures"),
    "method_licence": (TEXT, "of the winner's method"),
}
"""What `layouts.describe_entry` tells: type and meaning."""


def describe_file(folder: Path, path: Path, encoding: str) -> Json:
    """A file of the export, with its hash."""
    name = path.relative_to(folder).as_posix()
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": digest,
    }


def describe_files(name: str, pattern: str, encoding: str, within: Sequence[str] = ()) -> Json:
    """A set of files by their pattern: beside this file, or within some others."""
    found = {"@type": "cr:FileSet", "@id": name, "name": name, "encodingFormat": encoding, "includes": pattern}
    return found | ({"containedIn": [{"@id": one} for one in within]} if within else {})


def describe_field(record_set: str, name: str, kind: str, meaning: str, source: Json) -> Json:
    """A field of a record set."""
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "description": meaning, "dataType": kind, "source": source}


def describe_columns(record_set: str, metrics: Sequence[str], origin: Json) -> list[Json]:
    """The fields that `layouts.describe_entry` tells and a score per metric, all of them columns of one table or of a set of tables."""
    known = {**COLUMNS, **{f"score_{name}": (FLOAT, f"the winner's {name}") for name in metrics}}
    return [describe_field(record_set, name, *about, {**origin, "extract": {"column": name}}) for name, about in known.items()]


def describe_records(name: str, meaning: str, fields: Sequence[Json], key: str = "") -> Json:
    """A record set."""
    found = {"@type": "cr:RecordSet", "@id": name, "name": name, "description": meaning, "field": list(fields)}
    return found | ({"key": {"@id": f"{name}/{key}"}} if key else {})


def make_croissant(
    *,
    name: str,
    about: str,
    snapshot_id: str,
    published: datetime,
    licences: Sequence[str],
    citation: str,
    keywords: Sequence[str],
    distribution: Sequence[Json],
    record_sets: Sequence[Json],
) -> Json:
    """The whole description of an export; nothing in it depends on where or when it was exported."""
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": name,
        "description": about,
        "conformsTo": CONFORMS_TO,
        "identifier": snapshot_id,
        "version": f"{FORMAT}+{snapshot_id}",
        "datePublished": published.isoformat(timespec="seconds"),
        "creator": {"@type": "sc:Organization", "name": "fusion-prior"},
        "license": [_locate(one) for one in licences],
        "citeAs": citation,
        "keywords": list(keywords),
        "isLiveDataset": False,
        "distribution": list(distribution),
        "recordSet": list(record_sets),
    }


def _locate(licence: str) -> str:
    """A licence's address where it has one."""
    spdx = find_spdx(licence)
    return f"https://spdx.org/licenses/{spdx}.html" if spdx else licence or "not stated"
