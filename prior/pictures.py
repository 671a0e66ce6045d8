"""One picture file, decoded: the format by its content, 8 bits out, and a record of everything that was done to it.

Pillow decodes; OpenCV only what Pillow would cut to 8 bits (deep PNG and TIFF). Colour profiles are ignored, as OpenCV and
every published score ignore them.
"""

import hashlib
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

from prior.arrays import Picture, luma
from prior.levels import Levels, Range, check_range, choose_limits, flatten_alpha, stretch, warn_of_darkness
from storage.errors import InputError

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".tif", ".tiff", ".gif", ".webp"))
MAX_PIXELS = 50_000_000
MAX_BYTES = 8 * MAX_PIXELS + 1_000_000  # the longest file of that many pixels: 16-bit RGB with alpha, not compressed
MIN_SIDE = 41  # the shortest side that every metric can judge
GREY_TOLERANCE = 2  # largest difference of channels in a grey picture that went through YCbCr and back; faint colour begins at 6

_BIT_DEPTH_AT = 24  # of the IHDR chunk, which is always the first of a PNG
_CHANNELS = {1: "grey", 2: "grey-alpha", 3: "rgb", 4: "rgba"}
_KINDS = {"1": "grey1", "L": "grey8", "LA": "grey-alpha8", "P": "palette8"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A decoded file.

    Attributes:
        pixels: uint8, `(H, W)` or `(H, W, 3)` RGB; colour whose channels are equal is grey.
        format: what the file was, such as "png rgb8", "jpeg grey-as-rgb8", "tiff grey16 dtype".
        notes: what was done to it (alpha flattened, turned as its EXIF says, first of N frames).
        warnings: what the user should look at.
        value_range: the range that was applied, empty for 8-bit files, which have none.
        file_hash: SHA-256 of the file's bytes.
    """

    pixels: Picture
    format: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    value_range: str = ""
    file_hash: str


def read_picture(path: Path, value_range: Range = "dtype") -> Decoded:
    """Decode one file.

    Args:
        path: PNG, JPEG, BMP, TIFF, GIF or WebP, whatever its extension says.
        value_range: the levels of a 16-bit or float file that become black and white; see `levels.choose_limits`.

    Raises:
        InputError: code "unreadable" or "too_large"; the size is checked before anything is decoded.
    """
    check_range(value_range)
    with _refusing(path):
        content = _read_bytes(path)
        image = Image.open(BytesIO(content), formats=FORMATS)
        _check_size(*image.size)
        return _decode(image, content, value_range)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def try_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, or nothing where it cannot be opened or is longer than any picture that is read."""
    try:
        return hash_file(path) if path.stat().st_size <= MAX_BYTES else ""
    except OSError:
        return ""


def is_picture(path: Path) -> bool:
    """Whether a file is, or by its extension claims to be, a picture of a format that is read."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with _refusing(path), Image.open(path, formats=FORMATS):
            return True
    except InputError as error:
        return error.code == "too_large"


def write_png(path: Path, picture: Picture) -> None:
    """Write a picture losslessly; the file appears whole or not at all.

    Args:
        path: where to, as .png or without an extension; its folder is made.
        picture: uint8, `(H, W)` or `(H, W, 3)` RGB.

    Raises:
        InputError: its extension is that of another format, or it cannot be written there.
    """
    if path.suffix.lower() not in ("", ".png"):
        raise InputError(f"{show_path(path)} would be a PNG under the extension {show_path(path.suffix)}; name a file that ends in .png")
    content = encode_png(picture)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{uuid.uuid4().hex}.tmp")
        try:
            draft.write_bytes(content)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{show_path(path)} cannot be written ({error.strerror or error}); name another file") from error


def encode_png(picture: Picture) -> bytes:
    """A picture, uint8 `(H, W)` or `(H, W, 3)` RGB, as the bytes of a PNG file: lossless, and the same for the same pixels."""
    content = BytesIO()
    Image.fromarray(picture).save(content, format="PNG")
    return content.getvalue()


def show_path(path: Path | str) -> str:
    """A path or name as text that every table and log can hold: bytes that are no UTF-8 are spelled out."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises about a file into one InputError, and what it warns of into nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, whose size is checked here, and of broken EXIF, which is not used
            yield
    except InputError as error:
        raise InputError(f"{show_path(path)}: {error}", error.code) from error
    except Image.DecompressionBombError as error:
        message = f"{show_path(path)}: claims far more than the {MAX_PIXELS} pixels that are decoded; scale it down"
        raise InputError(message, "too_large") from error
    except Exception as error:  # decoders meet rubbish with anything from struct.error to SyntaxError
        why = "no known format" if isinstance(error, UnidentifiedImageError) else show_path(str(error)) or type(error).__name__
        message = f"{show_path(path)}: cannot be decoded as {', '.join(FORMATS)} ({why}); replace the file or take it out"
        raise InputError(message, "unreadable") from error


def _read_bytes(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"{size} bytes long, more than the {MAX_BYTES} that are read; scale it down", "too_large")
    return path.read_bytes()


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{width} x {height} pixels, more than the {MAX_PIXELS} that are decoded; scale it down", "too_large")


def _decode(image: Image.Image, content: bytes, value_range: Range) -> Decoded:
    notes = _note_frames(image) + _note_orientation(image)
    if _count_bits(image, content) > 8:
        levels, inverted = _invert_white_is_zero(image, _decode_deep(image, content))
        pixels, kind, warned = _reduce(levels, value_range)
        notes += inverted
        applied = str(value_range)
    else:
        pixels, kind, warned, applied = _decode_shallow(image), _KINDS.get(image.mode, f"{image.mode.lower()}8"), (), ""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        pixels, flattened = flatten_alpha(pixels)
        notes += flattened
    if _is_grey(pixels):
        pixels, kind = luma(pixels), kind.replace("rgb", "grey-as-rgb")
    container = {"MPO": "jpeg"}.get(image.format or "", (image.format or "").lower())
    return Decoded(
        pixels=np.ascontiguousarray(pixels),
        format=f"{container} {kind}",
        notes=notes,
        warnings=warned,
        value_range=applied,
        file_hash=hashlib.sha256(content).hexdigest(),
    )


def _note_frames(image: Image.Image) -> tuple[str, ...]:
    frames = getattr(image, "n_frames", 1)
    return (f"first of {frames} frames",) if frames > 1 else ()


def _note_orientation(image: Image.Image) -> tuple[str, ...]:
    orientation = image.getexif().get(Base.Orientation, 1)
    return (f"turned as EXIF orientation {orientation} says",) if orientation in range(2, 9) else ()


def _count_bits(image: Image.Image, content: bytes) -> int:
    """Bits per channel in the file, which Pillow's mode does not tell: it opens 16-bit RGB as 8-bit RGB."""
    if image.format == "PNG":
        return content[_BIT_DEPTH_AT]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    return 8


def _decode_shallow(image: Image.Image) -> Picture:
    """A file of at most 8 bits per channel as L, LA, RGB or RGBA."""
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    alpha = "A" if image.has_transparency_data else ""
    return np.array(ImageOps.exif_transpose(image).convert(mode + alpha))


def _decode_deep(image: Image.Image, content: bytes) -> Levels:
    """A deep PNG or TIFF with all its levels, channels in the order of RGBA."""
    levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None:
        raise ValueError(f"{image.mode} levels of an unusual depth")
    if levels.dtype.kind == "f" and not np.isfinite(levels).all():
        raise ValueError("it holds numbers that are not finite")
    if levels.ndim == 3:
        levels = levels[:, :, [2, 1, 0, 3][: levels.shape[2]]]
    # OpenCV turns a TIFF by itself and, asked for all its levels, a PNG never.
    return _turn(levels, image.getexif().get(Base.Orientation, 1)) if image.format == "PNG" else levels


def _turn(levels: Levels, orientation: int) -> Levels:
    """Levels turned upright, as EXIF tag 274 says."""
    if orientation in (5, 6, 7, 8):
        levels = np.swapaxes(levels, 0, 1)
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    return levels


def _invert_white_is_zero(image: Image.Image, levels: Levels) -> tuple[Levels, tuple[str, ...]]:
    """Deep levels of a TIFF that stores white as 0 (photometric interpretation 0), turned the right way round."""
    is_inverse = isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    if not is_inverse or levels.dtype.kind != "u":
        return levels, ()
    return np.iinfo(levels.dtype).max - levels, ("white was stored as 0: inverted",)


def _reduce(levels: Levels, value_range: Range) -> tuple[Picture, str, tuple[str, ...]]:
    """Deep levels as 8 bits, what they were and which range was applied, and a warning where little is left."""
    channels = 1 if levels.ndim == 2 else levels.shape[2]
    has_alpha = channels in (2, 4)
    colour = levels[:, :, :-1] if has_alpha else levels
    limits = choose_limits(colour, value_range)
    pixels = stretch(colour, limits)
    warned = warn_of_darkness(pixels, colour) if value_range == "dtype" else ()
    if has_alpha:
        alpha = stretch(levels[:, :, -1:], choose_limits(levels[:, :, -1:], "dtype"))
        pixels = np.concatenate([pixels, alpha], axis=2)
    bits = f"{8 * levels.dtype.itemsize}{'f' if levels.dtype.kind == 'f' else ''}"
    shown = "dtype" if value_range == "dtype" else f"[{limits[0]:g}, {limits[1]:g}]"
    name = f"percentile {shown}" if value_range == "percentile" else shown
    return pixels, f"{_CHANNELS[channels]}{bits} {name}", warned


def _is_grey(picture: Picture) -> bool:
    """Whether a colour picture shows no colour."""
    if picture.ndim == 2:
        return False
    red, green, blue = cv2.split(picture)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return int(spread.max()) <= GREY_TOLERANCE
