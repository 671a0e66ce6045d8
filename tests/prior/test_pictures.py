"""Tests of prior.pictures and prior.levels: one file, decoded."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from prior.arrays import Picture, luma
from prior.levels import Range, check_range, choose_limits, stretch
from prior.pictures import MAX_PIXELS, hash_file, is_picture, read_picture, show_path, try_hash, write_png
from storage.errors import InputError

QUIRKS = {
    "bmp_named_jpg/tsai_11.jpg": ("bmp rgb8", (274, 412, 3)),
    "ext_case_differs/ICCV_15.JPG": ("jpeg rgb8", (802, 1200, 3)),
    "ext_case_differs/dessert.JPG": ("jpeg rgb8", (816, 612, 3)),
    "ext_case_differs/disney1.JPG": ("jpeg rgb8", (612, 816, 3)),
    "gif_named_png/029-1_mri.png": ("gif palette8", (256, 256)),
    "gif_named_png/029-1_spect.png": ("gif palette8", (256, 256, 3)),
    "jpeg_named_png/Sky.png": ("jpeg rgb8", (513, 770, 3)),
    "orphans/43.png": ("png grey-as-rgb8", (354, 472)),
    "orphans/44.png": ("png grey-as-rgb8", (617, 850)),
    "png_named_bmp/CBF_1.bmp": ("png grey8", (446, 572)),
    "size_mismatch/fused/MEF-GAN/1.bmp": ("bmp grey8", (440, 568)),
    "size_mismatch/fused/MEF-GAN/10.bmp": ("bmp grey8", (280, 536)),
    "size_mismatch/fused/MEF-GAN/11.bmp": ("bmp grey8", (264, 528)),
    "size_mismatch/fused/ResNetFusion/1.bmp": ("bmp grey-as-rgb8", (446, 572)),
    "size_mismatch/fused/ResNetFusion/10.bmp": ("bmp grey-as-rgb8", (322, 543)),
    "size_mismatch/fused/ResNetFusion/11.bmp": ("bmp grey-as-rgb8", (233, 549)),
    "size_mismatch/ir/1.jpg": ("jpeg grey8", (446, 572)),
    "size_mismatch/ir/10.jpg": ("jpeg grey8", (283, 536)),
    "size_mismatch/ir/11.jpg": ("jpeg grey8", (271, 535)),
    "size_mismatch/vis/1.jpg": ("jpeg grey8", (446, 572)),
    "size_mismatch/vis/10.jpg": ("jpeg grey8", (283, 536)),
    "size_mismatch/vis/11.jpg": ("jpeg grey8", (271, 535)),
    "tno21_vis_jpg/VIS1.jpg": ("jpeg grey8", (270, 360)),
    "tno21_vis_jpg/VIS3.jpg": ("jpeg grey8", (510, 505)),
    "tno21_vis_jpg/VIS4.jpg": ("jpeg grey8", (480, 640)),
    "tno21_vis_jpg/VIS5.jpg": ("bmp grey8", (270, 360)),
}


def draw(height: int = 48, width: int = 60, channels: int = 3, seed: int = 0) -> Picture:
    """A random picture; grey where channels is 1."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, picture: NDArray[np.generic], **options: object) -> Path:
    """Save an array by Pillow, in the format of the extension."""
    Image.fromarray(picture).save(path, **options)  # type: ignore[arg-type]
    return path


def refuse(path: Path, value_range: Range = "dtype") -> InputError:
    """The error that reading a file raises."""
    with pytest.raises(InputError) as caught:
        read_picture(path, value_range)
    assert str(path) in str(caught.value)
    return caught.value


def write_png_header(path: Path, width: int, height: int) -> Path:
    """A PNG that claims a size and holds next to nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_every_quirk_stands_in_the_table(shared: Path) -> None:
    root = shared / "data" / "quirks"
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} == set(QUIRKS)


@pytest.mark.parametrize("name", QUIRKS)
def test_quirks_are_decoded_by_content(shared: Path, name: str) -> None:
    decoded = read_picture(shared / "data" / "quirks" / name)
    assert (decoded.format, decoded.pixels.shape) == QUIRKS[name]
    assert decoded.warnings == () and decoded.value_range == ""


@pytest.mark.parametrize("folder", ["vifb/ir", "vifb/vis", "tno/ir", "harvard_mri_pet/pet", "lytro/a", "mefb/b", "roadscene/fused/CBF"])
def test_eight_bit_pixels_are_those_of_opencv(shared: Path, folder: str) -> None:
    for path in sorted((shared / "data" / folder).iterdir()):
        expected: Picture = cv2.imread(str(path), cv2.IMREAD_COLOR)[:, :, ::-1]  # type: ignore[index, assignment]
        pixels = read_picture(path).pixels
        np.testing.assert_array_equal(pixels, expected if pixels.ndim == 3 else luma(expected), str(path))


@pytest.mark.parametrize(("suffix", "name"), [("png", "png"), ("bmp", "bmp"), ("tif", "tiff"), ("webp", "webp")])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, suffix: str, name: str) -> None:
    picture = draw()
    decoded = read_picture(save(tmp_path / f"x.{suffix}", picture, **({"lossless": True} if suffix == "webp" else {})))
    np.testing.assert_array_equal(decoded.pixels, picture)
    assert decoded.format == f"{name} rgb8" and decoded.notes == ()


def test_pixels_can_be_written_to_and_lie_in_order(tmp_path: Path) -> None:
    for picture in (draw(), draw(channels=1), draw(channels=4)):
        pixels = read_picture(save(tmp_path / "x.png", picture)).pixels
        assert pixels.flags.writeable and pixels.flags.c_contiguous


def test_grey_stored_as_colour_is_grey_with_the_same_luma(tmp_path: Path) -> None:
    grey = draw(channels=1)
    decoded = read_picture(save(tmp_path / "x.png", np.repeat(grey[:, :, None], 3, axis=2)))
    assert decoded.format == "png grey-as-rgb8"
    np.testing.assert_array_equal(decoded.pixels, grey)


def test_rounding_of_channels_is_no_colour_but_a_faint_tint_is(tmp_path: Path) -> None:
    nearly = np.repeat(draw(channels=1)[:, :, None] // 2, 3, axis=2)
    nearly[:, :, 0] += 2
    np.testing.assert_array_equal(read_picture(save(tmp_path / "x.png", nearly)).pixels, luma(nearly))
    nearly[0, 0, 0] += 1
    np.testing.assert_array_equal(read_picture(save(tmp_path / "x.png", nearly)).pixels, nearly)


def test_opaque_alpha_is_dropped_and_other_alpha_flattened_over_black(tmp_path: Path) -> None:
    picture = draw(channels=4)
    picture[:, :, 3] = 255
    decoded = read_picture(save(tmp_path / "x.png", picture))
    np.testing.assert_array_equal(decoded.pixels, picture[:, :, :3])
    assert decoded.notes == ("opaque alpha dropped",)
    picture[:20, :, 3], picture[20:30, :, 3] = 0, 51
    decoded = read_picture(save(tmp_path / "x.png", picture))
    assert decoded.notes == ("alpha flattened over black",) and decoded.format == "png rgba8"
    assert (decoded.pixels[:20] == 0).all()
    np.testing.assert_array_equal(decoded.pixels[20:30], np.rint(picture[20:30, :, :3] / 5))


def test_grey_with_alpha(tmp_path: Path) -> None:
    picture = draw(channels=2)
    decoded = read_picture(save(tmp_path / "x.png", picture))
    expected = np.rint(picture[:, :, 0].astype(float) * picture[:, :, 1] / 255)
    assert decoded.format == "png grey-alpha8" and decoded.pixels.ndim == 2
    assert np.abs(decoded.pixels - expected).max() <= 1


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(np.tile(np.array([0, 1, 2], np.uint8), (48, 20)), mode="L")
    image = image.convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.save(tmp_path / "x.png", transparency=1)
    decoded = read_picture(tmp_path / "x.png")
    assert decoded.format == "png palette8" and decoded.notes == ("alpha flattened over black",)
    np.testing.assert_array_equal(decoded.pixels[0, :3], [[255, 0, 0], [0, 0, 0], [0, 0, 255]])


def test_one_bit_and_cmyk(tmp_path: Path) -> None:
    bits = draw(channels=1) > 127
    decoded = read_picture(save(tmp_path / "x.png", bits))
    assert decoded.format == "png grey1"
    np.testing.assert_array_equal(decoded.pixels, bits * 255)
    plain = Image.new("RGB", (60, 48), (200, 80, 40))
    plain.convert("CMYK").save(tmp_path / "x.jpg", quality=100)
    decoded = read_picture(tmp_path / "x.jpg")
    assert decoded.format == "jpeg cmyk8"
    np.testing.assert_allclose(decoded.pixels.reshape(-1, 3).mean(axis=0), (200, 80, 40), atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["x.png", "x.tif", "deep x.png"])
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, kind: str) -> None:
    upright = draw(channels=1)
    # How a camera held that way stores the upright scene.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    pixels = np.ascontiguousarray(stored).astype(np.uint16) * 257 if kind.startswith("deep") else np.ascontiguousarray(stored)
    decoded = read_picture(save(tmp_path / kind, pixels, exif=exif))
    np.testing.assert_array_equal(decoded.pixels, upright)
    assert decoded.notes == (() if orientation == 1 else (f"turned as EXIF orientation {orientation} says",))


def test_the_first_frame_of_a_moving_gif_counts(tmp_path: Path) -> None:
    first, second = (Image.fromarray(draw(channels=1, seed=seed)) for seed in (1, 2))
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    decoded = read_picture(tmp_path / "x.gif")
    assert decoded.notes == ("first of 2 frames",)
    np.testing.assert_array_equal(decoded.pixels, np.asarray(first))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_keep_more_than_their_high_bytes(tmp_path: Path, suffix: str, channels: int) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (48, 60, channels), dtype=np.uint16)
    if channels == 4:
        levels[:, :, 3] = 65535
    path = tmp_path / f"x.{suffix}"
    assert cv2.imwrite(str(path), levels[:, :, ([2, 1, 0, 3] if channels > 1 else [0])[:channels]])
    decoded = read_picture(path)
    expected = np.rint(levels[:, :, :3] / 257).squeeze()
    np.testing.assert_array_equal(decoded.pixels, expected)
    kind = {1: "grey16", 3: "rgb16", 4: "rgba16"}[channels]
    assert decoded.format == f"{'png' if suffix == 'png' else 'tiff'} {kind} dtype" and decoded.value_range == "dtype"


def write_thermal(path: Path) -> NDArray[np.uint16]:
    """A 16-bit thermal picture that uses 400 of its levels."""
    levels = np.random.default_rng(0).integers(3000, 3401, (48, 60), dtype=np.uint16)
    Image.fromarray(levels).save(path)
    return levels


def test_a_nearly_black_thermal_picture_is_warned_of(tmp_path: Path) -> None:
    write_thermal(tmp_path / "x.png")
    decoded = read_picture(tmp_path / "x.png")
    assert decoded.pixels.max() == 13
    assert len(decoded.warnings) == 1 and "nearly black" in decoded.warnings[0] and '"percentile"' in decoded.warnings[0]


def test_a_chosen_range_and_percentiles_spread_a_thermal_picture(tmp_path: Path) -> None:
    levels = write_thermal(tmp_path / "x.png")
    decoded = read_picture(tmp_path / "x.png", (3100.0, 3300.0))
    np.testing.assert_array_equal(decoded.pixels, np.rint(np.clip((levels - 3100.0) / 200, 0, 1) * 255))
    assert decoded.format == "png grey16 [3100, 3300]" and decoded.warnings == ()
    decoded = read_picture(tmp_path / "x.png", "percentile")
    assert (decoded.pixels.min(), decoded.pixels.max()) == (0, 255)
    assert decoded.format.startswith("png grey16 percentile [300") and decoded.value_range == "percentile"


def test_the_range_leaves_eight_bit_files_alone(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", draw())
    np.testing.assert_array_equal(read_picture(path, (0.0, 1.0)).pixels, read_picture(path).pixels)


def test_white_stored_as_zero_is_turned_round(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (48, 60), dtype=np.uint16)
    Image.fromarray(levels).save(tmp_path / "x.tif", tiffinfo={262: 0})
    decoded = read_picture(tmp_path / "x.tif")
    np.testing.assert_array_equal(decoded.pixels, np.rint((65535 - levels) / 257))
    assert decoded.notes == ("white was stored as 0: inverted",)


def test_float_levels(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).random((48, 60), dtype=np.float32)
    path = save(tmp_path / "x.tif", levels)
    np.testing.assert_array_equal(read_picture(path).pixels, np.rint(levels * np.float32(255)))
    assert read_picture(path).format == "tiff grey32f dtype"
    save(path, levels * 300)
    assert 'range = "percentile"' in str(refuse(path)) and refuse(path).code == "unreadable"
    np.testing.assert_array_equal(read_picture(path, (0.0, 300.0)).pixels, np.rint(levels * np.float32(255)))
    levels[3, 4] = np.nan
    save(path, levels)
    assert "not finite" in str(refuse(path)) and refuse(path, "percentile").code == "unreadable"


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "gif", "webp"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9])
def test_truncated_files_are_refused_not_filled_up(tmp_path: Path, suffix: str, part: float) -> None:
    path = save(tmp_path / f"x.{suffix}", draw())
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert refuse(path).code == "unreadable"


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_truncated_deep_files_are_refused(tmp_path: Path, suffix: str, channels: int, part: float) -> None:
    path = tmp_path / f"x.{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 65536, (48, 60, channels), dtype=np.uint16))
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert refuse(path).code == "unreadable"


def test_rubbish_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_text("this is no picture")
    assert refuse(path).code == "unreadable"
    path.unlink()
    assert "No such file" in str(refuse(path))
    path.mkdir()
    assert refuse(path).code == "unreadable"


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 2000), with_byte=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP"]))
def test_a_changed_byte_never_raises_anything_else(tmp_path_factory: pytest.TempPathFactory, at: int, with_byte: int, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(draw(20, 20)).save(buffer, format=kind)
    content = bytearray(buffer.getvalue())
    content[at % len(content)] = with_byte
    path = tmp_path_factory.getbasetemp() / "changed.bin"
    path.write_bytes(content)
    try:
        assert read_picture(path).pixels.dtype == np.uint8
    except InputError as error:
        assert error.code in ("unreadable", "too_large")


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (12_000, 10_000), (MAX_PIXELS + 1, 1)])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, width: int, height: int) -> None:
    path = write_png_header(tmp_path / "x.png", width, height)
    assert refuse(path).code == "too_large"
    path.rename(tmp_path / "bomb")
    assert is_picture(tmp_path / "bomb")


def test_a_file_too_long_to_be_a_picture_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(8 * MAX_PIXELS + 2_000_000)
    assert refuse(path).code == "too_large"


def test_a_tiny_picture_can_be_decoded(tmp_path: Path) -> None:
    assert read_picture(save(tmp_path / "x.png", draw(1, 1))).pixels.shape == (1, 1, 3)


def test_what_claims_to_be_a_picture(tmp_path: Path) -> None:
    (tmp_path / "null").write_bytes(b"")
    (tmp_path / "BMW.txt").write_text("BM is how bitmaps begin")
    (tmp_path / "empty.TIFF").write_bytes(b"")
    save(tmp_path / "x.png", draw()).rename(tmp_path / "x.dat")
    claims = {path.name: is_picture(path) for path in tmp_path.iterdir()}
    assert claims == {"null": False, "BMW.txt": False, "empty.TIFF": True, "x.dat": True}


@pytest.mark.parametrize("value_range", ["minmax", (2.0, 1.0), (1.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0), (1.0,), [0, 1]])
def test_a_wrong_range_is_refused(value_range: Range) -> None:
    with pytest.raises(InputError, match="is not a value range"):
        check_range(value_range)


@given(low=st.integers(0, 60000), span=st.integers(1, 5000))
def test_stretching_is_monotone_and_meets_its_limits(low: int, span: int) -> None:
    levels = np.arange(max(low - 5, 0), low + span + 5, dtype=np.uint16)
    picture = stretch(levels, (low, low + span))
    assert (np.diff(picture.astype(int)) >= 0).all()
    assert picture[levels == low] == 0 and picture[levels == low + span] == 255


def test_percentiles_of_flat_levels_and_of_signed_levels() -> None:
    flat = np.full((50, 50), 700, np.uint16)
    assert (stretch(flat, choose_limits(flat, "percentile")) == 0).all()
    flat[0, 0] = 900
    assert choose_limits(flat, "percentile") == (700, 900)
    with pytest.raises(InputError, match="int16"):
        choose_limits(flat.astype(np.int16), "dtype")


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20), colour=st.booleans())
def test_written_pictures_come_back(tmp_path_factory: pytest.TempPathFactory, name: str, colour: bool) -> None:
    path = tmp_path_factory.mktemp("written") / "new" / f"_{name}.png"
    picture = draw(8, 9, 3 if colour else 1)
    write_png(path, picture)
    write_png(path, picture)
    np.testing.assert_array_equal(read_picture(path).pixels, picture)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError, KeyError)):
        write_png(tmp_path / "x.png", np.zeros((4, 4, 7), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG", "x.tif", "x.png.bmp", "scan.2024"])
def test_no_png_is_written_under_another_extension(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        InputError, match=rf"{name} would be a PNG under the extension \{Path(name).suffix}; name a file that ends in \.png"
    ):
        write_png(tmp_path / "new" / name, draw())
    assert list(tmp_path.iterdir()) == []
    for fine in ("x.PNG", "x"):
        write_png(tmp_path / fine, draw())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x", "x.PNG"]


@pytest.mark.parametrize("name", ["folder", "file/x.png", "/proc/x.png", f"{'x' * 300}.png"])
def test_what_cannot_be_written_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"(folder|x\.png) cannot be written \(.+\); name another file"):
        write_png(tmp_path / name, draw())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


def test_hashes_follow_the_bytes(tmp_path: Path) -> None:
    path = save(tmp_path / "x.png", draw())
    before = hash_file(path)
    assert read_picture(path).file_hash == before == try_hash(path)
    save(path, draw(seed=1))
    assert hash_file(path) != before
    assert try_hash(tmp_path / "absent.png") == ""


def test_names_that_are_no_text_are_spelled_out() -> None:
    assert show_path(Path("b\udcff.png")) == "b\\udcff.png"
    assert show_path("für.png") == "für.png"


def test_what_is_no_picture_is_told_alike_every_time(tmp_path: Path) -> None:
    (tmp_path / "rubbish.png").write_bytes(b"rubbish " * 9)
    with pytest.raises(InputError, match=r"rubbish\.png: cannot be decoded as PNG, .* \(no known format\); replace the file"):
        read_picture(tmp_path / "rubbish.png")
