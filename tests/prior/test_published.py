"""Tests of prior.published and prior.signatures: what others published, as candidates."""

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from prior.arrays import Picture, luma
from prior.pairs import PairRef, Source, inspect, scan
from prior.pictures import encode_png, hash_file, read_picture, write_png
from prior.published import PublishedFile, find_files, index_published, inspect_published, list_methods, load_published
from prior.signatures import MARGIN, SignatureGroup, find_other_pair, group_signatures, sign_pair, signature
from storage.errors import CandidateError, InputError
from storage.schema import CANDIDATE_REASONS, FAILED, MISSING, OK

SIZE = (60, 80)


def draw(seed: int, size: tuple[int, int] = SIZE) -> Picture:
    """A smooth random scene."""
    noise = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 2)
    return cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)  # type: ignore[call-overload, no-any-return]


def write_under(path: Path, picture: Picture) -> None:
    """Write a PNG under whatever name; the format of a file is in its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(picture))


def make_ref(key: str = "1", a: str = "1.png", b: str = "1.png") -> PairRef:
    """A pair whose files nobody opens."""
    return PairRef(pair_id=f"set/{key}", source=Source(a=Path("ir"), b=Path("vis")), key=key, a=Path("ir", a), b=Path("vis", b))


def make_group(count: int = 3) -> SignatureGroup:
    """The signatures of pairs "0", "1", …, whose scenes are those of the seeds."""
    return group_signatures(sign_pair(str(seed), draw(seed), 255 - draw(seed)) for seed in range(count))[SIZE]


def inspect_file(path: Path, pair_id: str = "1") -> PublishedFile:
    """Inspect one file of one method."""
    (found,) = inspect_published(pair_id, SIZE, {"published:CNN": (path,)}, make_group())
    return found


def gather(sources: Sequence[Source]) -> tuple[list[PairRef], dict[tuple[int, int], SignatureGroup], dict[str, tuple[int, int]]]:
    """All pairs of some sources, their signatures by size, and the size of each."""
    refs = list(scan(sources).pairs)
    signed = [one.signature for one in map(inspect, refs) if one.signature is not None]
    return refs, group_signatures(signed), {one.pair_id: one.size for one in signed}


def inspect_all(sources: Sequence[Source]) -> list[tuple[str, PublishedFile]]:
    """Every published file of some sources, with the pair it belongs to."""
    refs, groups, sizes = gather(sources)
    indices = {source.name: index_published(source.published) for source in sources if source.published}
    return [
        (ref.pair_id, file)
        for ref in refs
        for file in inspect_published(
            ref.pair_id, sizes[ref.pair_id], find_files(indices[ref.source.name], ref), groups[sizes[ref.pair_id]]
        )
    ]


def test_methods_are_named_after_their_folders(tmp_path: Path) -> None:
    for name in ("Knowledge_CNN", "MST_SR", "a b", ".ipynb_checkpoints"):
        (tmp_path / name).mkdir()
    (tmp_path / "Thumbs.db").write_bytes(b"")
    methods = list_methods(tmp_path)
    assert list(methods) == ["published:CNN", "published:MST_SR", "published:a b"]
    assert methods["published:CNN"] == tmp_path / "Knowledge_CNN"
    (tmp_path / "CNN").mkdir()
    with pytest.raises(InputError, match="would both be published:CNN"):
        list_methods(tmp_path)


def test_a_folder_without_methods_is_refused(tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", draw(1))
    with pytest.raises(InputError, match="one folder per method"):
        list_methods(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        list_methods(tmp_path / "absent")


def test_a_method_folder_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fused").mkdir()
    (tmp_path / "fused" / "CNN").symlink_to(tmp_path)
    with pytest.raises(InputError, match="leads out"):
        list_methods(tmp_path / "fused")


def test_files_are_found_by_key_or_by_the_name_of_a_source(tmp_path: Path) -> None:
    for method, name in (("K", "7.bmp"), ("A", "IR7.PNG"), ("B", "VIS7.jpg"), ("none", "8.png"), ("two", "7.png"), ("two", "7.jpg")):
        write_under(tmp_path / method / name, draw(1))
    write_png(tmp_path / "K" / "IR7.png", draw(1))
    write_png(tmp_path / "K" / ".ipynb_checkpoints" / "7.png", draw(1))
    (tmp_path / "K" / "null").write_text("")
    index = index_published(tmp_path)
    files = find_files(index, make_ref("7", "IR7.png", "VIS7.png"))
    assert {method: [path.name for path in paths] for method, paths in files.items()} == {
        "published:A": ["IR7.PNG"],
        "published:B": ["VIS7.jpg"],
        "published:K": ["7.bmp"],
        "published:none": [],
        "published:two": ["7.jpg", "7.png"],
    }
    assert [path.name for path in index.clutter] == [".ipynb_checkpoints", "null"]


def test_a_good_file_is_ok_and_can_be_loaded(tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", draw(1))
    file = inspect_file(tmp_path / "1.png")
    assert file == PublishedFile("published:CNN", str(tmp_path / "1.png"), hash_file(tmp_path / "1.png"), OK)
    np.testing.assert_array_equal(load_published(file, SIZE), draw(1))
    write_png(tmp_path / "1.png", 255 - draw(1))
    assert inspect_file(tmp_path / "1.png").file_hash != file.file_hash


def test_no_file_is_missing_and_no_failure() -> None:
    (file,) = inspect_published("1", SIZE, {"published:CNN": ()}, make_group())
    assert (file.status, file.reason, file.path, file.file_hash) == (MISSING, "missing", "", "")


def break_file(path: Path, case: str) -> None:
    """Write a published result that cannot be a candidate."""
    match case:
        case "crop":
            write_png(path, draw(1)[:56])
        case "bomb":
            with path.open("wb") as file:
                file.truncate(500_000_000)
        case "flat":
            write_png(path, np.full((*SIZE, 3), (9, 80, 7), np.uint8))
        case "nan":
            Image.fromarray(np.full(SIZE, np.nan, np.float32)).save(path, format="TIFF")
        case "text":
            path.write_text("no picture")
        case "swapped":
            write_png(path, draw(2))
        case "outside":
            write_png(path.parent.parent / "1.png", draw(1))
            path.symlink_to(path.parent.parent / "1.png")


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("crop", "wrong_size"),
        ("bomb", "wrong_size"),
        ("flat", "flat"),
        ("nan", "unreadable"),
        ("text", "unreadable"),
        ("swapped", "other_pair"),
        ("outside", "unreadable"),
    ],
)
def test_bad_files_are_failures_with_their_reason(tmp_path: Path, case: str, reason: str) -> None:
    (tmp_path / "CNN").mkdir()
    break_file(tmp_path / "CNN" / "1.png", case)
    file = inspect_file(tmp_path / "CNN" / "1.png")
    assert (file.status, file.reason) == (FAILED, reason)
    assert reason in CANDIDATE_REASONS and file.message.startswith("pair 1, published:CNN: ")
    assert bool(file.file_hash) == (case not in ("outside", "bomb"))
    if case not in ("swapped", "outside"):
        with pytest.raises(CandidateError) as caught:
            load_published(file, SIZE)
        assert caught.value.code == reason


def test_two_files_for_one_pair_are_a_failure(tmp_path: Path) -> None:
    for name in ("1.bmp", "1.png"):
        write_under(tmp_path / name, draw(1))
    (file,) = inspect_published("1", SIZE, {"published:CNN": (tmp_path / "1.bmp", tmp_path / "1.png")}, make_group())
    assert (file.status, file.reason) == (FAILED, "ambiguous") and "1.bmp, 1.png claim the same pair" in file.message


def test_the_other_pair_is_named(tmp_path: Path) -> None:
    write_png(tmp_path / "1.png", draw(2))
    assert "shows pair 2" in inspect_file(tmp_path / "1.png").message


def test_names_in_lexicographic_order_are_noticed(tmp_path: Path) -> None:
    # The i-th file is the i-th name as text sorts them: 0, 1, 10, 11, 2 …
    group = make_group(12)
    order = sorted(range(12), key=str)
    for position, seed in enumerate(order):
        write_png(tmp_path / f"{position}.png", draw(seed))
    found = {
        position: inspect_published(str(position), SIZE, {"m": (tmp_path / f"{position}.png",)}, group)[0].reason for position in range(12)
    }
    assert found == {position: "" if order[position] == position else "other_pair" for position in range(12)}


def test_a_signature_has_zero_mean_and_unit_norm() -> None:
    for size in ((41, 41), (60, 80), (300, 500)):
        cells = signature(draw(0, size))
        assert cells.shape == (64 * 64,) and cells.dtype == np.float32
        assert abs(float(cells.mean())) < 1e-6 and float(np.linalg.norm(cells)) == pytest.approx(1, abs=1e-5)
    assert not signature(np.full(SIZE, 3, np.uint8)).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9), weight=st.floats(0.2, 0.8), noise=st.integers(0, 8))
def test_a_mixture_of_its_sources_is_never_taken_for_another_pair(seed: int, weight: float, noise: int) -> None:
    a, b = draw(seed), draw(seed + 100)
    group = group_signatures(sign_pair(str(one), draw(one), draw(one + 100)) for one in range(10))[SIZE]
    grain = np.random.default_rng(seed).normal(0, noise, SIZE)
    fused = np.clip(weight * a + (1 - weight) * b + grain, 0, 255).astype(np.uint8)
    assert find_other_pair(signature(fused), str(seed), group) is None
    other = find_other_pair(signature(fused), str((seed + 1) % 10), group)
    assert other is not None and other[0] == str(seed) and other[1] > MARGIN


def test_groups_keep_sizes_apart_and_are_small() -> None:
    signed = [sign_pair("b", draw(1), draw(2)), sign_pair("a", draw(3), draw(4)), sign_pair("c", draw(1, (60, 81)), draw(2, (60, 81)))]
    groups = group_signatures(signed)
    assert {size: group.pair_ids for size, group in groups.items()} == {SIZE: ("a", "b"), (60, 81): ("c",)}
    assert len(pickle.dumps(groups)) < 3 * 17_000
    assert find_other_pair(signature(draw(3)), "c", groups[SIZE]) is None


def test_equal_scenes_are_not_another_pair() -> None:
    group = group_signatures([sign_pair("x", draw(1), draw(2)), sign_pair("copy", draw(1), draw(2))])[SIZE]
    assert find_other_pair(signature(draw(1)), "x", group) is None


@pytest.mark.parametrize("folder", [("lytro", "a", "b", "SESF"), ("harvard_mri_pet", "mri", "pet", "MdAFuse")])
def test_two_swapped_names_are_both_found(shared: Path, tmp_path: Path, folder: tuple[str, str, str, str]) -> None:
    name, a, b, method = folder
    root = shared / "data" / name
    shutil.copytree(root / "fused" / method, tmp_path / method)
    first, second = sorted((tmp_path / method).iterdir())[3:5]
    first.rename(tmp_path / "kept")
    second.rename(first)
    (tmp_path / "kept").rename(second)
    found = inspect_all([Source(name=name, a=root / a, b=root / b, published=tmp_path)])
    failed = {pair_id: file for pair_id, file in found if file.status != OK}
    assert {pair_id: file.reason for pair_id, file in failed.items()} == {first.stem: "other_pair", second.stem: "other_pair"}
    assert f"shows pair {second.stem} " in failed[first.stem].message and f"shows pair {first.stem} " in failed[second.stem].message


def test_real_results_raise_no_alarm_and_nearly_every_swap_does(shared: Path) -> None:
    modalities = {"tno": ("ir", "vis"), "lytro": ("a", "b"), "harvard_mri_ct": ("mri", "ct"), "harvard_mri_pet": ("mri", "pet")}
    root = shared / "data"
    sources = [
        Source(name=name, a=root / name / a, b=root / name / b, published=root / name / "fused") for name, (a, b) in modalities.items()
    ]
    found = inspect_all(sources)
    assert {file.status for _, file in found} == {OK, MISSING}
    assert sum(file.status == OK for _, file in found) == 389
    _, groups, sizes = gather(sources)
    swaps = []
    for pair_id, file in found:
        group = groups[sizes[pair_id]]
        if file.status == OK and "Fuse" in file.method:
            shown = signature(luma(read_picture(Path(file.path)).pixels))
            swaps += [find_other_pair(shown, other, group) is not None for other in group.pair_ids if other != pair_id]
    assert len(swaps) > 1000 and np.mean(swaps) > 0.999


def test_the_published_results_of_the_quirks(shared: Path) -> None:
    root = shared / "data/quirks/size_mismatch"
    found = inspect_all([Source(a=root / "ir", b=root / "vis", published=root / "fused")])
    assert {(pair_id, file.method.removeprefix("published:")): file.reason for pair_id, file in found} == {
        ("1", "MEF-GAN"): "wrong_size",  # crops to multiples of 8
        ("10", "MEF-GAN"): "wrong_size",
        ("11", "MEF-GAN"): "wrong_size",
        ("1", "ResNetFusion"): "",  # file i is the i-th name as text sorts them, so 1 is right
        ("10", "ResNetFusion"): "wrong_size",
        ("11", "ResNetFusion"): "wrong_size",
    }
    message = next(file.message for pair_id, file in found if (pair_id, file.method) == ("10", "published:MEF-GAN"))
    assert "536 x 280 pixels, expected 536 x 283" in message
