"""The golden cases themselves: what is drawn anew is what is stored, and how far a number is from its golden value."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest

from prior import golden

DRAWN = "c16_drawn"


def test_the_drawn_case_is_what_its_formulas_draw() -> None:
    y, x = np.mgrid[:176, :192]
    disc = (x - 70) ** 2 + (y - 62) ** 2 < 34**2
    block = (np.abs(x - 130) < 30) & (np.abs(y - 110) < 40)
    a = 30 + x // 2 + 6 * ((3 * x + 5 * y) % 7) + 70 * disc
    b = 30 + y // 2 + 5 * ((2 * x + 3 * y) % 5) + 12 * ((x // 12 + y // 8) % 3) + 60 * block
    f = (np.maximum(a, b) + (a + b) // 2) // 2
    stored = golden.read_case(DRAWN)
    for drawn, picture in zip((a, b, f), (stored.a, stored.b, stored.f), strict=True):
        np.testing.assert_array_equal(picture, drawn)


def test_the_drawn_case_has_the_numbers_of_the_reference(shared: Path) -> None:
    spec = importlib.util.spec_from_file_location("reference_metrics", shared / "tools" / "reference_metrics.py")
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    case = golden.read_case(DRAWN)
    quick = set(reference.ALL) - {"Q_P", "FMI_none", "FMI_gradient", "FMI_dct", "FMI_w"}  # the last needs a filter that is not at hand
    for name in quick:
        assert golden.list_values(name)[DRAWN] == pytest.approx(reference.ALL[name](case.a, case.b, case.f), rel=1e-12), name
    assert all(math.isfinite(golden.list_values(name)[DRAWN]) for name in set(reference.ALL) - {"FMI_w"})


def test_every_case_travels_with_the_package() -> None:
    assert {path.name for path in Path(golden.__file__).parent.iterdir() if (path / "a.png").is_file()} == set(golden.CASES)
    assert set(golden.list_values("EN")) == set(golden.CASES)


@pytest.mark.parametrize(
    ("value", "expected", "error"),
    [
        (1000.001, 1000, 1e-6),
        (1.000001e-7, 1e-7, 1e-6),  # no floor: a small number has as many digits as a large one
        (-3, 3, 2),
        (0, 0, 0),
        (1e-12, 0, 0),
        (1e-12, -1e-16, 0),
        (1e-10, 0, math.inf),
        (0, 1e-10, 1),
        (math.nan, 1, math.nan),
        (1, math.inf, math.nan),
        (math.inf, math.inf, math.nan),
    ],
)
def test_errors_are_relative_however_small_the_value(value: float, expected: float, error: float) -> None:
    assert golden.measure_error(value, expected) == pytest.approx(error, rel=1e-6, nan_ok=True)
