"""The card of an export, `README.md`: what it is, how it was made, under which licences, and how it is read.

Its header is the one that Hugging Face reads of a dataset.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from storage.layouts import Description, Entry, Json
from storage.licences import allows_commercial_use, find_spdx
from storage.schema import SPLITS

FILE = "README.md"
CITATION = """@article{yi2024diffif,
  title   = {Diff-IF: Multi-modality image fusion via diffusion model with fusion knowledge prior},
  author  = {Yi, Xunpeng and Tang, Linfeng and Zhang, Hao and Xu, Han and Ma, Jiayi},
  journal = {Information Fusion},
  volume  = {110},
  pages   = {102450},
  year    = {2024},
  doi     = {10.1016/j.inffus.2024.102450}
}"""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST = "n>1M"


def summarise(entries: Sequence[Entry], snapshot_id: str, criterion: str) -> str:
    """What an export is, in a sentence."""
    tasks = " and ".join(sorted({one.pair.task for one in entries}))
    return (
        f"{len(entries)} registered pairs of images ({tasks}), each with the fused image that was best by the criterion {criterion} among "
        f"the candidates of several fusion methods: snapshot {snapshot_id} of a fusion knowledge prior."
    )


def list_keywords(entries: Sequence[Entry]) -> list[str]:
    """What an export is found by."""
    return ["image-fusion", "fusion-knowledge-prior", "diff-if", *sorted({one.pair.task for one in entries})]


def list_licences(entries: Sequence[Entry], metric_licences: Mapping[str, str]) -> list[str]:
    """Every licence text that an export stands under, an empty one where nobody said for some of it."""
    found = {claim.licence for one in entries for claim in one.list_claims()}
    return sorted(found | set(metric_licences.values()))


def write_card(
    described: Description,
    *,
    snapshot_id: str,
    manifest: Mapping[str, Any],
    metric_licences: Mapping[str, str],
    policy: str,
    allowed: Sequence[str],
    notes: Sequence[str],
) -> str:
    """The card as Markdown under a YAML header; nothing in it depends on where or when it was written."""
    entries = described.entries
    criterion = manifest.get("criterion", {})
    header = _make_header(entries, snapshot_id, list_licences(entries, metric_licences)) | described.header
    sections = (
        f"# A fusion knowledge prior, snapshot {snapshot_id}",
        summarise(entries, snapshot_id, str(criterion.get("name", "that it was built with"))),
        "Every pair holds its sources `a` and `b` and the picture of the winner, with the winner's method, its value, its lead on the "
        "runner-up and its scores. Pictures are 8-bit PNG, grey or RGB, without loss.",
        *notes,
        _tell_making(manifest, criterion),
        "## Pairs\n\n" + _draw_table(("split", "pairs", "scenes"), _count_splits(entries)) + "\n\nA scene is never in two splits.",
        "## Winners\n\n" + _draw_table(("method", "version", "wins", "share"), _count_wins(entries, manifest.get("methods", {}))),
        _tell_licences(entries, metric_licences, policy, allowed),
        f"## Loading\n\n{described.loading}",
        f"## Citation\n\nThe idea of such a prior, and the criterion named `diff-if`, are from\n\n```bibtex\n{CITATION}\n```",
    )
    return f"---\n{_to_yaml(header)}\n---\n\n" + "\n\n".join(sections) + "\n"


def _make_header(entries: Sequence[Entry], snapshot_id: str, licences: Sequence[str]) -> Json:
    return {
        **_name_licence(licences),
        "pretty_name": f"Fusion knowledge prior {snapshot_id}",
        "task_categories": ["image-to-image"],
        "tags": list_keywords(entries),
        "size_categories": [next((name for limit, name in SIZES if len(entries) < limit), LARGEST)],
    }


def _name_licence(licences: Sequence[str]) -> Json:
    """The header's licence: an id where there is but one, else that there are several, or that one is not known."""
    if not all(licences):
        return {"license": "unknown"}
    spdx = {find_spdx(one) for one in licences}
    if len(spdx) == 1 and "" not in spdx:
        return {"license": spdx.pop().lower()}
    return {"license": "other", "license_name": "several", "license_link": FILE}


def _tell_making(manifest: Mapping[str, Any], criterion: Mapping[str, str]) -> str:
    rows = [("criterion", f"`{criterion.get('name', '')}`: `{criterion.get('rule', '')}`")]
    rows += [(kind, ", ".join(_describe_versions(manifest.get(kind, {})))) for kind in ("methods", "metrics", "versions")]
    labels = {"methods": "live methods", "versions": "libraries"}
    return "## How it was made\n\n" + _draw_table(("", "what, in which version"), [(labels.get(kind, kind), text) for kind, text in rows])


def _describe_versions(named: Mapping[str, Any]) -> list[str]:
    return [f"{name} {_find_version(about)}" for name, about in named.items()]


def _find_version(about: object) -> str:
    return str(about["version"]) if isinstance(about, dict) else str(about)


def _count_splits(entries: Sequence[Entry]) -> list[tuple[object, ...]]:
    members = {split: [one for one in entries if one.pair.split == split] for split in SPLITS}
    return [(split, len(many), len({one.pair.group for one in many})) for split, many in members.items() if many]


def _count_wins(entries: Sequence[Entry], methods: Mapping[str, Any]) -> list[tuple[object, ...]]:
    wins = Counter(one.selection.method for one in entries)
    return [
        (name, _find_version(methods[name]) if name in methods else "", count, f"{100 * count / len(entries):.1f} %")
        for name, count in sorted(wins.items(), key=lambda one: (-one[1], one[0]))
    ]


def _tell_licences(entries: Sequence[Entry], metric_licences: Mapping[str, str], policy: str, allowed: Sequence[str]) -> str:
    uses = Counter(claim for one in entries for claim in one.list_claims())
    rows: list[tuple[object, ...]] = [
        (claim.subject, claim.licence or "not stated", _judge(claim.licence, allowed), count)
        for claim, count in sorted(uses.items(), key=lambda one: (one[0].subject, one[0].licence))
    ]
    rows += [(f"metric {name}", one or "not stated", _judge(one, allowed), len(entries)) for name, one in sorted(metric_licences.items())]
    asked = {"any": "Nothing was asked of these licences.", "commercial": "Only pairs that may be used commercially were to be exported."}
    stated = "".join(f" Whoever exported stated that `{one}` allows commercial use." for one in allowed)
    return (
        "## Licences\n\nA pair stands under the licence of its pictures and of the winner's method; the criterion's metrics chose it.\n\n"
        f"{_draw_table(('of', 'licence', 'commercial use', 'pairs'), rows)}\n\n{asked[policy]}{stated}"
    )


def _judge(licence: str, allowed: Sequence[str]) -> str:
    if allows_commercial_use(licence):
        return "allowed"
    return "allowed, as stated" if allows_commercial_use(licence, allowed) else "not known to be allowed"


def _draw_table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(_to_cell(one) for one in line)} |" for line in lines)


def _to_cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _to_yaml(header: Mapping[str, Any]) -> str:
    """A header as YAML, of which JSON values are a part."""
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in header.items())
