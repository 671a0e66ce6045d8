"""Tests of prior.pairs: from folders to checked pairs."""

import os
import pickle
import shutil
import unicodedata
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from prior.arrays import Picture
from prior.pairs import Inspection, PairRef, Scan, Source, flag_duplicates, inspect, load, scan
from prior.pictures import encode_png, hash_file, read_picture, write_png
from storage.errors import InputError
from storage.schema import DUPLICATE, MISREGISTERED, OK, PAIR_REASONS, QUARANTINED, TASKS


def draw(seed: int = 0, height: int = 60, width: int = 80) -> Picture:
    """A smooth random scene."""
    noise = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Two empty folders."""
    (tmp_path / "ir").mkdir()
    (tmp_path / "vis").mkdir()
    return Source(a=tmp_path / "ir", b=tmp_path / "vis")


def write_under(path: Path, picture: Picture) -> None:
    """Write a PNG under whatever name; the format of a file is in its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))


def add(source: Source, name_a: str, name_b: str, seed: int = 0) -> None:
    """Add one picture to each folder."""
    write_under(source.a / name_a, draw(seed))
    write_under(source.b / name_b, 255 - draw(seed))


def inspect_only(source: Source, *, max_shift: float | None = None) -> Inspection:
    """Inspect the only pair of a source."""
    (ref,) = scan([source]).pairs
    return inspect(ref, max_shift=max_shift)


def ids(found: Scan) -> list[str]:
    """The pair ids in their order."""
    return [pair.pair_id for pair in found.pairs]


def test_pairs_are_found_by_stem_whatever_the_extension(source: Source) -> None:
    for name_a, name_b in (("b.png", "b.JPG"), ("a b.png", "a b.Tiff"), ("ä.x.png", "ä.x.png"), ("c", "c.png"), ("d.v2.png", "d.v2")):
        add(source, name_a, name_b)
    found = scan([source])
    assert ids(found) == ["a b", "b", "c", "d.v2", "ä.x"]
    assert (found.refused, found.orphans, found.clutter) == ((), (), ())
    assert [pair.key for pair in found.pairs] == ids(found)
    assert {inspect(pair).row.status for pair in found.pairs} == {OK}


def test_stems_differ_in_case_but_not_in_how_accents_are_composed(source: Source) -> None:
    add(source, "A.png", "a.png")
    add(source, unicodedata.normalize("NFD", "é.png"), unicodedata.normalize("NFC", "é.png"))
    found = scan([source])
    assert ids(found) == [unicodedata.normalize("NFC", "é")]
    assert [path.name for path in found.orphans] == ["A.png", "a.png"]


def test_names_that_are_no_text_can_be_kept_in_tables(source: Source) -> None:
    add(source, "x\udcff.png", "x\udcff.png")
    row = inspect_only(source).row
    assert row.status == OK and row.pair_id == "x\\udcff"
    assert "".join((row.pair_id, row.a_path, row.b_path)).encode("utf-8")


def test_orphans_and_clutter_are_listed(source: Source) -> None:
    add(source, "x.png", "x.png")
    write_png(source.a / "lonely.png", draw())
    write_png(source.b / "late.png", draw())
    write_png(source.a / ".hidden.png", draw())
    write_png(source.b / ".ipynb_checkpoints" / "x-checkpoint.png", draw())
    for name in ("Thumbs.db", "null", "readme.txt"):
        (source.b / name).write_bytes(b"nothing to see")
    os.mkfifo(source.b / "pipe.png")
    found = scan([source])
    assert ids(found) == ["x"]
    assert [path.name for path in found.orphans] == ["lonely.png", "late.png"]
    assert [path.name for path in found.clutter] == [
        ".hidden.png", ".ipynb_checkpoints", "Thumbs.db", "null", "pipe.png", "readme.txt",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("pattern", "name_a", "name_b"),
    [
        ("IR{key} VIS{key}", "IR7", "VIS7"),
        ("{key}_A {key}_B", "7_A", "7_B"),
        ("i_{key}.png {key}.jpg", "i_7", "7"),
        ("'t {key}' {key}", "t 7", "7"),
    ],
)
def test_patterns_pair_what_names_do_not(source: Source, pattern: str, name_a: str, name_b: str) -> None:
    add(source, f"{name_a}.png", f"{name_b}.jpg")
    write_png(source.a / "other.png", draw())
    found = scan([replace(source, pattern=pattern)])
    assert ids(found) == ["7"]
    assert [path.name for path in found.orphans] == ["other.png"]


def test_a_pattern_pairs_within_one_folder(source: Source) -> None:
    write_png(source.a / "1_A.png", draw(1))
    write_png(source.a / "1_B.png", draw(2))
    write_png(source.a / "2_B.png", draw(3))
    found = scan([Source(a=source.a, b=source.a, pattern="{key}_A {key}_B")])
    assert ids(found) == ["1"]
    assert [path.name for path in found.orphans] == ["2_B.png"]


def test_wrong_policies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not understood"):
        Source(a=tmp_path / "ir", b=tmp_path / "vis", pattern="IR{key}")
    with pytest.raises(InputError, match="is not a resize policy"):
        Source(a=tmp_path / "ir", b=tmp_path / "vis", resize="c")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is not a value range"):
        Source(a=tmp_path / "ir", b=tmp_path / "vis", value_range=(3.0, 2.0))
    with pytest.raises(InputError, match="a and b are both"):
        Source(a=tmp_path, b=tmp_path / "x" / "..")


def test_several_sources_name_their_pairs(source: Source) -> None:
    add(source, "x.png", "x.png")
    first, second = replace(source, name="one"), replace(source, name="a", a=source.b, b=source.a)
    assert ids(scan([first, second])) == ["a/x", "one/x"]
    assert ids(scan([first])) == ["x"]
    for names in (("", "one"), ("one", "one")):
        with pytest.raises(InputError, match="names of their own"):
            scan([replace(source, name=name) for name in names])


def test_missing_and_empty_folders_are_refused(source: Source) -> None:
    write_png(source.a / "x.png", draw())
    with pytest.raises(InputError, match="holds no pictures"):
        scan([source])
    with pytest.raises(InputError, match="is not a folder"):
        scan([replace(source, b=source.b / "absent")])


def test_when_nothing_pairs_the_names_are_shown(source: Source) -> None:
    add(source, "IR1.png", "VIS1.png")
    with pytest.raises(InputError, match=r"nothing pairs by their names.*IR1\.png.*VIS1\.png.*--pattern"):
        scan([source])


def test_two_files_of_one_stem_are_ambiguous(source: Source) -> None:
    add(source, "x.png", "x.png")
    write_under(source.a / "x.jpg", draw())
    write_under(source.b / "y.jpg", draw())
    write_png(source.b / "y.png", draw())
    found = scan([source])
    (row,) = found.refused
    assert (row.pair_id, row.status, row.reason) == ("x", QUARANTINED, "ambiguous")
    assert "x.jpg, x.png" in row.message
    assert [path.name for path in found.orphans] == ["y.jpg", "y.png"]


def test_links_that_leave_their_folder_are_refused(source: Source) -> None:
    add(source, "x.png", "x.png")
    (source.b / "y.png").symlink_to(source.a / "x.png")
    (source.b / "list.txt").symlink_to(source.a / "x.png")
    write_png(source.a / "y.png", draw())
    (source.a / "z.png").symlink_to("x.png")
    (source.b / "z.png").symlink_to(source.b / "x.png")
    (source.a / "loop.png").symlink_to("loop.png")
    write_png(source.b / "loop.png", draw())
    found = scan([source])
    assert ids(found) == ["loop", "x", "z"]
    assert [(row.pair_id, row.reason) for row in found.refused] == [("y", "outside")]
    assert [path.name for path in found.clutter] == ["list.txt"]
    assert inspect(found.pairs[0]).row.reason == "unreadable"
    assert inspect(found.pairs[2]).row.status == OK


def test_an_outside_link_without_partner_is_an_orphan_that_was_never_opened(source: Source) -> None:
    add(source, "x.png", "x.png")
    (source.b / "y.png").symlink_to("/dev/zero")
    found = scan([source])
    assert ids(found) == ["x"] and found.orphans == (source.b / "y.png",)


def test_a_row_tells_all_about_a_pair(source: Source) -> None:
    add(source, "x.png", "x.png")
    source = replace(source, name="night", task=TASKS[0], licence="CC0", a_modality="infrared")
    found = inspect_only(source)
    row = found.row
    assert (row.pair_id, row.source, row.task, row.status, row.licence) == ("x", "night", TASKS[0], OK, "CC0")
    assert (row.height, row.width, row.a_modality, row.b_modality) == (60, 80, "infrared", "vis")
    assert (row.a_format, row.b_format, row.resized, row.reason, row.message) == ("png grey8", "png grey8", "", "", "")
    assert (row.a_path, row.b_path) == (str(source.a / "x.png"), str(source.b / "x.png"))
    assert row.a_hash == hash_file(source.a / "x.png") and len(row.pair_hash) == 64
    assert row.shift < 0.1 and row.shift_confidence > 0.5
    assert found.signature is not None and found.signature.size == (60, 80) and found.warnings == ()


def test_a_reference_is_light_and_pickles(source: Source) -> None:
    add(source, "x.png", "x.png")
    (ref,) = scan([source]).pairs
    assert pickle.loads(pickle.dumps(ref)) == ref
    assert len(pickle.dumps(ref)) < 2000


@pytest.mark.parametrize("size", [(1, 2), (2, 2), (3, 7), (8, 8), (9, 9), (16, 16), (40, 500), (500, 1)])
def test_pairs_of_any_size_are_inspected_where_that_is_asked(source: Source, size: tuple[int, int]) -> None:
    a, b = np.random.default_rng(3).integers(0, 256, (2, *size)).astype(np.uint8)
    write_png(source.a / "x.png", a)
    write_png(source.b / "x.png", b)
    (ref,) = scan([source]).pairs
    assert inspect(ref).row.reason == "too_small"
    found = inspect(ref, max_shift=1, smallest=1)
    assert (found.row.status, found.row.height, found.row.width) == (OK, *size)
    assert np.isnan(found.row.shift) and found.row.shift_confidence == 0 and found.row.flags == ()
    assert found.signature is not None and found.signature.size == size and not found.signature.vectors.any()


def test_the_pair_hash_follows_what_decides_the_pixels(source: Source) -> None:
    add(source, "x.png", "x.png")
    before = inspect_only(source).row.pair_hash
    assert inspect_only(replace(source, value_range=(1.0, 2.0), licence="MIT", name="n", resize="a")).row.pair_hash == before
    write_png(source.b / "x.png", draw(5))
    other = inspect_only(source).row.pair_hash
    assert len({before, other, inspect_only(replace(source, a=source.b, b=source.a)).row.pair_hash}) == 3
    cv2.imwrite(str(source.b / "x.png"), draw(5).astype(np.uint16) * 200)
    hashes = {inspect_only(replace(source, value_range=limits)).row.pair_hash for limits in ("dtype", "percentile", (1.0, 2.0), (1.0, 3.0))}
    assert len(hashes) == 4


def test_sizes_must_agree_unless_a_policy_says_otherwise(source: Source) -> None:
    write_png(source.a / "x.png", draw(1, 60, 80))
    write_png(source.b / "x.png", draw(1, 120, 160))
    row = inspect_only(source).row
    assert (row.status, row.reason) == (QUARANTINED, "size_mismatch")
    assert "80 x 60 and 160 x 120" in row.message
    to_a, to_b = (inspect_only(replace(source, resize=policy)).row for policy in ("a", "b"))
    assert (to_a.status, to_a.height, to_a.width, to_a.resized) == (OK, 60, 80, "b from 160 x 120 to 80 x 60")
    assert (to_b.status, to_b.height, to_b.width, to_b.resized) == (OK, 120, 160, "a from 80 x 60 to 160 x 120")
    assert to_a.pair_hash != to_b.pair_hash
    (ref,) = scan([replace(source, resize="a")]).pairs
    a, b = load(ref)
    np.testing.assert_array_equal(a, draw(1, 60, 80))
    np.testing.assert_array_equal(b, cv2.resize(draw(1, 120, 160), (80, 60), interpolation=cv2.INTER_AREA))
    with pytest.raises(InputError, match="differ in size"):
        load(replace(ref, source=source))


def test_a_distorting_resize_is_warned_of(source: Source) -> None:
    write_png(source.a / "x.png", draw(1, 60, 80))
    write_png(source.b / "x.png", draw(1, 60, 100))
    found = inspect_only(replace(source, resize="a"))
    assert found.row.status == OK and "resizing distorts" in found.warnings[0]


def test_alpha_and_orientation_are_recorded(source: Source) -> None:
    write_png(source.a / "x.png", draw())
    rgba = np.dstack([draw(), draw(1), draw(2), np.full((60, 80), 200, np.uint8)])
    write_png(source.b / "x.png", rgba)
    assert inspect_only(source).row.b_format == "png rgba8, alpha flattened over black"


def test_a_dark_thermal_picture_is_warned_of_with_its_pair(source: Source) -> None:
    add(source, "x.png", "x.png")
    cv2.imwrite(str(source.a / "x.png"), draw().astype(np.uint16) + 3000)
    (warning,) = inspect_only(source).warnings
    assert warning.startswith("pair x: ") and "nearly black" in warning
    assert inspect_only(replace(source, value_range="percentile")).warnings == ()


def test_the_same_file_twice_is_warned_of(source: Source) -> None:
    for folder in (source.a, source.b):
        write_png(folder / "x.png", draw())
    assert inspect_only(source).warnings == ("pair x: a and b are the same file",)


def break_pair(ref: PairRef, reason: str) -> None:
    """Make a pair fail a check."""
    match reason:
        case "unreadable":
            ref.b.write_text("no picture")
        case "too_small":
            write_png(ref.a, draw(1, 40, 200))
            write_png(ref.b, draw(2, 40, 200))
        case "flat":
            write_png(ref.b, np.full((60, 80), 9, np.uint8))
        case "too_large":
            header = bytearray(ref.b.read_bytes())
            header[16:24] = (60_000).to_bytes(4, "big") * 2
            header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
            ref.b.write_bytes(header)


@pytest.mark.parametrize("reason", ["unreadable", "too_small", "flat", "too_large"])
def test_what_fails_a_check_is_quarantined_with_its_reason(source: Source, reason: str) -> None:
    add(source, "x.png", "x.png")
    (ref,) = scan([source]).pairs
    break_pair(ref, reason)
    found = inspect(ref)
    assert (found.row.status, found.row.reason) == (QUARANTINED, reason)
    assert reason in PAIR_REASONS and found.row.message.startswith("pair x: ") and found.signature is None
    assert (found.row.a_hash, found.row.b_hash) == (hash_file(ref.a), hash_file(ref.b))


def test_a_file_that_vanished_is_quarantined(source: Source) -> None:
    add(source, "x.png", "x.png")
    (ref,) = scan([source]).pairs
    ref.a.unlink()
    row = inspect(ref).row
    assert (row.reason, row.a_hash) == ("unreadable", "")


def shift_pair(source: Source, by: int) -> None:
    """One pair whose second image is shifted to the right."""
    scene = draw(3, 100, 140)
    write_png(source.a / "x.png", scene[:, 20:])
    write_png(source.b / "x.png", scene[:, 20 - by : 140 - by])


def test_a_shift_is_recorded_flagged_and_set_aside_only_on_demand(source: Source) -> None:
    shift_pair(source, 9)
    row = inspect_only(source).row
    assert (row.status, row.flags) == (OK, (MISREGISTERED,))
    assert (row.shift, row.shift_y, row.shift_x) == pytest.approx((9, 0, 9), abs=0.1)
    aside = inspect_only(source, max_shift=6).row
    assert (aside.status, aside.reason, aside.flags, aside.pair_hash) == (QUARANTINED, "shifted", (MISREGISTERED,), row.pair_hash)
    assert inspect_only(source, max_shift=10).row.status == OK
    shift_pair(source, 4)
    assert inspect_only(source).row.flags == ()
    assert inspect_only(source, max_shift=3).row.reason == "shifted"


def test_duplicates_are_flagged_and_kept(source: Source) -> None:
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d", 1)):
        add(source, f"{name}.png", f"{name}.png", seed)
    write_png(source.b / "d.png", draw(7))
    rows = flag_duplicates([inspect(ref).row for ref in scan([source]).pairs])
    assert [DUPLICATE in row.flags for row in rows] == [False, False, True, False]
    assert rows[2].status == OK and rows[2].message == "the same two files as pair a"


def test_rows_without_hashes_are_no_duplicates(source: Source) -> None:
    add(source, "x.png", "x.png")
    row = inspect_only(source).row
    rows = [replace(row, pair_id=name, a_hash="") for name in "ab"]
    assert flag_duplicates(rows) == tuple(rows)


def test_max_shift_of_six_sets_aside_the_warped_pairs_and_no_others(shared: Path) -> None:
    folder = shared / "data" / "roadscene_warped"
    for a, reasons in (("ir_warped", {"shifted"}), ("ir", {""})):
        found = scan([Source(a=folder / a, b=folder / "vis")])
        assert len(found.pairs) == 8
        assert {inspect(ref, max_shift=6).row.reason for ref in found.pairs} == reasons


def test_real_pairs_whose_extensions_differ_in_case(shared: Path) -> None:
    found = scan([Source(a=shared / "data/quirks/ext_case_differs", b=shared / "data/mefb/b", task="multi-exposure")])
    assert ids(found) == ["ICCV_15", "dessert"]
    assert {inspect(ref).row.status for ref in found.pairs} == {OK}
    assert "disney1.JPG" in {path.name for path in found.orphans}


def test_real_gifs_named_png(shared: Path) -> None:
    folder = shared / "data/quirks/gif_named_png"
    found = inspect_only(Source(a=folder, b=folder, pattern="{key}_mri {key}_spect", a_modality="mri", b_modality="spect"))
    assert (found.row.pair_id, found.row.status, found.row.a_format) == ("029-1", OK, "gif palette8")
    assert (found.row.a_modality, found.row.b_modality) == ("mri", "spect")


def test_real_names_that_only_a_pattern_pairs(shared: Path, source: Source) -> None:
    for path in sorted((shared / "data/quirks/tno21_vis_jpg").iterdir()):
        shutil.copy(path, source.b)
        write_under(source.a / f"{path.stem.replace('VIS', 'IR')}.bmp", 255 - read_picture(path).pixels)
    with pytest.raises(InputError, match="nothing pairs"):
        scan([source])
    found = scan([replace(source, pattern="IR{key} VIS{key}")])
    assert ids(found) == ["1", "3", "4", "5"]
    assert {inspect(ref).row.b_format for ref in found.pairs} == {"jpeg grey8", "bmp grey8"}


@pytest.mark.parametrize("name", ["bmp_named_jpg/tsai_11.jpg", "jpeg_named_png/Sky.png", "png_named_bmp/CBF_1.bmp"])
def test_real_files_under_a_wrong_extension(shared: Path, source: Source, name: str) -> None:
    path = shared / "data/quirks" / name
    shutil.copy(path, source.b)
    write_png(source.a / f"{path.stem}.png", read_picture(path).pixels)
    row = inspect_only(source).row
    assert row.status == OK and row.b_format.split()[0] == name.split("_")[0]


def test_real_orphans(shared: Path) -> None:
    quirks = shared / "data/quirks"
    with pytest.raises(InputError, match=r"43\.png, 44\.png"):
        scan([Source(a=quirks / "orphans", b=quirks / "size_mismatch/ir")])
    found = scan([Source(a=shared / "data/mefb/a", b=shared / "data/mefb/b", task="multi-exposure")])
    assert len(found.pairs) == 26 and len(found.orphans) == 7


def test_real_orphans_beside_pairs(shared: Path, source: Source) -> None:
    add(source, "x.png", "x.png")
    for path in (shared / "data/quirks/orphans").iterdir():
        shutil.copy(path, source.a)
    found = scan([source])
    assert ids(found) == ["x"] and [path.name for path in found.orphans] == ["43.png", "44.png"]


def test_a_name_that_is_no_utf8_is_spelled_out(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        picture = np.random.default_rng(ord(folder)).integers(0, 256, (48, 48), np.uint8)
        write_png(tmp_path / folder / "plain.png", picture)
        (tmp_path / folder / "plain.png").rename(tmp_path / folder / os.fsdecode(b"caf\xe9.png"))
    (ref,) = scan([Source(a=tmp_path / "a", b=tmp_path / "b")]).pairs
    assert ref.pair_id == "caf\\udce9"
    assert inspect(ref).row.status == OK
