"""Tests of prior.folders: what lies in one folder, and patterns."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prior.folders import group_by_key, leads_out, parse_pattern, strip_suffix
from storage.errors import InputError

NAMES = st.text(st.characters(categories=["L", "N", "P", "Zs"], exclude_characters="./{}'\"\\"), min_size=1, max_size=12)


@given(key=NAMES, before=NAMES, after=NAMES)
def test_a_pattern_finds_the_key_it_was_made_from(key: str, before: str, after: str) -> None:
    key, before, after = (unicodedata.normalize("NFC", text) for text in (key, before, after))
    a, b = parse_pattern(f"'{before}{{key}}' '{{key}}{after}'")
    for pattern, name in ((a, before + key), (b, key + after)):
        path = Path(f"{name}.png")
        if unicodedata.is_normalized("NFC", name):  # else the pieces compose to another character, and to another key
            assert group_by_key([path], pattern) == {key: (path,)}


@pytest.mark.parametrize("pattern", ["IR{key}", "a b", "{key} {key} {key}", "IR{key} VIS", "{key}{key} {key}", "'{key} {key}"])
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="is not understood"):
        parse_pattern(pattern)


def test_names_that_the_pattern_does_not_match_are_left_out() -> None:
    a, _ = parse_pattern("IR{key} VIS{key}")
    paths = [Path(name) for name in ("IR1.png", "IR1.jpg", "IR.png", "ir2.png", "xIR3.png")]
    assert group_by_key(paths, a) == {"1": (Path("IR1.png"), Path("IR1.jpg"))}


def test_only_picture_extensions_are_taken_off() -> None:
    names = ("x.PNG", "x.v2.jpeg", "x.v2", "x", "x.png.tif")
    assert [strip_suffix(name) for name in names] == ["x", "x.v2", "x.v2", "x", "x.png"]


def test_a_link_leads_out_only_if_its_end_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    targets = {"plain": "other", "up": "../x", "absolute": str(tmp_path / "in" / "x"), "loop": "loop", "out": "/etc/passwd"}
    for name, target in targets.items():
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "link").symlink_to("in")
    for folder in (tmp_path / "in", tmp_path / "link"):
        assert {name for name in targets if leads_out(folder / name)} == {"up", "out"}
