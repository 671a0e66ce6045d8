"""WebDataset: tar files of pictures that are read from front to back, `train-000000.tar` and so on.

A pair is four members side by side: `<key>.a.png`, `<key>.b.png`, `<key>.json`, `<key>.target.png`. The same pairs give the same bytes.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

from storage.layouts import PICTURES, Description, Entry, Job, Json, Pictures, croissant, describe_entry
from storage.schema import SPLITS

_BLOCK = 512  # bytes: a member of a tar file is a block and its content, filled up to blocks


def write(job: Job) -> Description:
    """Write the shards of each split, each of at most `job.shard_bytes` unless one pair alone is larger."""
    shards: list[Path] = []
    for split in SPLITS:
        entries = [one for one in job.entries if one.pair.split == split]
        shards.extend(_write_split(job, split, entries))
    return Description(
        entries=job.entries,
        loading=_explain([path.name for path in shards]),
        distribution=_describe_shards(job.folder, shards),
        record_sets=[croissant.describe_records("pairs", "One record per pair.", _describe_fields(job.metrics), "pair_id")],
    )


def _write_split(job: Job, split: str, entries: Sequence[Entry]) -> list[Path]:
    shards: list[Path] = []
    opened: tarfile.TarFile | None = None
    try:
        for entry, pictures in job.read(entries):
            members = _make_members(entry, pictures)
            if opened is None or opened.offset + _measure(members) > job.shard_bytes:
                if opened is not None:
                    opened.close()
                shards.append(job.folder / f"{split}-{len(shards):06d}.tar")
                opened = tarfile.open(shards[-1], "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # closed when full
            for name, content in members.items():
                _add(opened, name, content)
    finally:
        if opened is not None:
            opened.close()
    return shards


def _make_members(entry: Entry, pictures: Pictures) -> dict[str, bytes]:
    """The members of one pair, in their order."""
    facts = describe_entry(entry) | {"scores": dict(entry.scores)}
    text = json.dumps(facts, ensure_ascii=False, sort_keys=True, allow_nan=False).encode()
    named = {f"{entry.stem}.{name}.png": getattr(pictures, name) for name in PICTURES} | {f"{entry.stem}.json": text}
    return dict(sorted(named.items()))


def _measure(members: dict[str, bytes]) -> int:
    return sum(_BLOCK + -(-len(content) // _BLOCK) * _BLOCK for content in members.values())


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at the beginning of time
    member.size = len(content)
    member.mode = 0o644
    shard.addfile(member, io.BytesIO(content))


def _describe_shards(folder: Path, shards: Sequence[Path]) -> list[Json]:
    names = [path.name for path in shards]
    sets = [croissant.describe_files(name, f"*.{name}.png", croissant.PNG, names) for name in PICTURES]
    facts = croissant.describe_files("facts", "*.json", "application/json", names)
    return [*(croissant.describe_file(folder, path, croissant.TAR) for path in shards), *sets, facts]


def _describe_fields(metrics: Sequence[str]) -> list[Json]:
    facts = {"fileSet": {"@id": "facts"}}
    known = {**croissant.COLUMNS, **{f"scores.{name}": (croissant.FLOAT, f"the winner's {name}") for name in metrics}}
    return [
        croissant.describe_field("pairs", name.replace("scores.", "score_"), *about, {**facts, "extract": {"jsonPath": f"$.{name}"}})
        for name, about in known.items()
    ]


def _explain(shards: Sequence[str]) -> str:
    return f"""```python
import webdataset as wds

pairs = wds.WebDataset("{shards[0]}", shardshuffle=False).decode("rgb8")
for pair in pairs:
    a, b, target, facts = pair["a.png"], pair["b.png"], pair["target.png"], pair["json"]
```

The shards: {", ".join(f"`{name}`" for name in shards[:6])}{" …" if len(shards) > 6 else ""}. Their pairs are ordered by id;
shuffle them as you read. `decode("rgb8")` gives colour pictures of grey ones too, `decode("l8")` luma."""
