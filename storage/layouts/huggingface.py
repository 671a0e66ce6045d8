"""A folder for `datasets.load_dataset`: Parquet files with the pictures inside, `data/train-00000-of-00002.parquet` and so on."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from storage.layouts import PICTURES, Description, Entry, Job, Json, Pictures, croissant, describe_entry, list_scores
from storage.schema import SPLITS, TEST, TRAIN, VAL

NAMES = {TRAIN: "train", VAL: "validation", TEST: "test"}
GROUP_BYTES = 32_000_000  # of pictures in a row group, which is held in memory as a whole
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
TYPES = {croissant.TEXT: pa.string(), croissant.INTEGER: pa.int32(), croissant.FLOAT: pa.float64()}


def write(job: Job) -> Description:
    """Write the files of each split, each full at about `job.shard_bytes`."""
    schema = make_schema(job.metrics)
    (job.folder / "data").mkdir()
    files: dict[str, list[Path]] = {}
    for split in SPLITS:
        entries = [one for one in job.entries if one.pair.split == split]
        if entries:
            files[NAMES[split]] = _write_split(job, NAMES[split], entries, schema)
    configs = [{"split": name, "path": f"data/{name}-*.parquet"} for name in files]
    return Description(
        entries=job.entries,
        loading=_explain(list(files)),
        distribution=_describe_files(job.folder, files),
        record_sets=[croissant.describe_records("pairs", "One row per pair.", _describe_fields(job.metrics), "pair_id")],
        header={"configs": [{"config_name": "default", "data_files": configs}]},
    )


def make_schema(metrics: Sequence[str]) -> pa.Schema:
    """The columns, and what `datasets` wants to know about them."""
    kinds = {name: kind for name, (kind, _) in croissant.COLUMNS.items()} | {f"score_{name}": croissant.FLOAT for name in metrics}
    columns = {name: TYPES[kind] for name, kind in kinds.items()}
    features: Json = {name: {"dtype": str(kind).replace("double", "float64"), "_type": "Value"} for name, kind in columns.items()}
    features |= {name: {"_type": "Image"} for name in PICTURES}
    about = json.dumps({"info": {"features": features}})
    return pa.schema([*columns.items(), *((name, PICTURE) for name in PICTURES)], metadata={"huggingface": about})


def _write_split(job: Job, name: str, entries: Sequence[Entry], schema: pa.Schema) -> list[Path]:
    """Write a split under working names, which cannot say yet how many files there will be, and rename them."""
    drafts: list[Path] = []
    rows: list[Json] = []
    waiting = filled = 0
    writer: pq.ParquetWriter | None = None
    try:
        for entry, pictures in job.read(entries):
            if writer is None or filled + waiting + pictures.size > job.shard_bytes:
                _finish(writer, rows, schema)
                drafts.append(job.folder / "data" / f"{name}-{len(drafts):05d}.parquet")
                writer = pq.ParquetWriter(drafts[-1], schema)
                waiting = filled = 0
            rows.append(_make_row(entry, pictures))
            waiting += pictures.size
            if waiting > GROUP_BYTES:
                _write_rows(writer, rows, schema)
                filled, waiting = filled + waiting, 0
        _finish(writer, rows, schema)
        writer = None
    finally:
        if writer is not None:
            writer.close()
    return [path.replace(path.with_name(f"{path.stem}-of-{len(drafts):05d}.parquet")) for path in drafts]


def _finish(writer: pq.ParquetWriter | None, rows: list[Json], schema: pa.Schema) -> None:
    if writer is not None:
        _write_rows(writer, rows, schema)
        writer.close()


def _write_rows(writer: pq.ParquetWriter, rows: list[Json], schema: pa.Schema) -> None:
    """Write rows as one group, and forget them."""
    if rows:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        rows.clear()


def _make_row(entry: Entry, pictures: Pictures) -> Json:
    embedded = {name: {"bytes": getattr(pictures, name), "path": f"{entry.stem}.{name}.png"} for name in PICTURES}
    return {**describe_entry(entry), **list_scores(entry), **embedded}


def _describe_files(folder: Path, files: dict[str, list[Path]]) -> list[Json]:
    every = [croissant.describe_file(folder, path, croissant.PARQUET) for paths in files.values() for path in paths]
    return [*every, croissant.describe_files("tables", "data/*.parquet", croissant.PARQUET)]


def _describe_fields(metrics: Sequence[str]) -> list[Json]:
    origin = {"fileSet": {"@id": "tables"}}
    pictures = [
        croissant.describe_field(
            "pairs", name, croissant.IMAGE, meaning, {**origin, "extract": {"column": name}, "transform": {"jsonPath": "bytes"}}
        )
        for name, meaning in zip(PICTURES, ("the first source", "the second source", "the winner"), strict=True)
    ]
    return [*croissant.describe_columns("pairs", metrics, origin), *pictures]


def _explain(names: Sequence[str]) -> str:
    return f"""```python
from datasets import load_dataset

pairs = load_dataset("path/of/this/folder", split="{names[0]}")  # or {", ".join(names[1:]) or "no other: there is but one"}
pairs[0]["a"], pairs[0]["b"], pairs[0]["target"]  # Pillow images
```"""
