"""The dual-tree complex wavelet transform comes back, is Kingsbury's, knows directions, and hardly sees where crests lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prior.arrays import Image
from prior.steps.dtcwt import LOW, Bands, decompose, reconstruct

# Of `draw_scene` by the package dtcwt 0.14.0 with near_sym_a and qshift_06: sums of magnitudes by direction (75, 105, 15, 165, 135 and 45
# degrees), finest scale first; and the sum and the energy of the coarse image.
GOLDEN = [
    [32.7942, 24.7628, 12.1929, 8.6856, 2.5112, 1.4198],
    [25.6948, 51.4369, 6.1953, 11.4010, 7.2336, 2.4930],
    [9.4588, 36.6918, 3.6772, 6.5765, 16.5762, 3.6953],
    [0.9753, 1.3796, 1.8297, 2.5451, 2.6248, 1.5768],
]
GOLDEN_LOW = 214.1404, 961.9479
BANDS = {75: 0, 105: 1, 15: 2, 165: 3, 135: 4, 45: 5}


def draw_scene() -> Image:
    """Waves, rings and an edge, from formulas alone."""
    rows, columns = np.indices((48, 64))
    waves = 0.5 + 0.2 * np.sin(0.7 * rows + 0.3 * columns) + 0.1 * np.cos(0.02 * rows * columns)
    return (waves + 0.1 * (columns > 29)).astype(np.float32)


def draw_wave(degrees: float, phase: float = 0, frequency: float = 0.55) -> Image:
    """A wave whose crests move in this direction, counted from the rows upwards."""
    rows, columns = np.indices((128, 128))
    along = np.cos(np.deg2rad(degrees)) * columns - np.sin(np.deg2rad(degrees)) * rows
    return np.sin(frequency * along + phase).astype(np.float32)


@settings(max_examples=25, derandomize=True)
@given(height=st.integers(1, 70), width=st.integers(1, 70), levels=st.integers(1, 6), seed=st.integers(0, 99))
def test_puts_together_what_it_took_apart(height: int, width: int, levels: int, seed: int) -> None:
    image = np.random.default_rng(seed).random((height, width), np.float32)
    back = reconstruct(decompose(image, levels))
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, image, atol=3e-6)


def test_bands_halve_from_fine_to_coarse() -> None:
    bands = decompose(np.zeros((50, 70), np.float32), 3)
    assert bands.shape == (50, 70)
    assert [stack.shape for stack in bands.details] == [(6, 7, 9), (6, 14, 18), (6, 28, 36)]
    assert bands.low.shape == (14, 18)


def test_is_the_transform_of_an_independent_implementation() -> None:
    bands = decompose(draw_scene(), 4)
    for stack, expected in zip(reversed(bands.details), GOLDEN, strict=True):
        np.testing.assert_allclose(np.abs(stack).sum(axis=(1, 2)), expected, atol=5e-4)
    np.testing.assert_allclose([bands.low.sum(), (bands.low**2).sum()], GOLDEN_LOW, rtol=1e-5)


def test_the_tree_filter_is_orthonormal_with_its_own_double_shifts() -> None:
    for shift in (0, 2, 4, 6):
        product = sum(tap * LOW.get(position + shift, 0) for position, tap in LOW.items())
        assert product == pytest.approx(float(shift == 0), abs=3e-8)


@pytest.mark.parametrize("degrees", BANDS)
def test_every_direction_has_its_band(degrees: int) -> None:
    frequency = 0.8 if degrees % 90 == 45 else 0.55  # diagonal bands lie further out
    power = (np.abs(decompose(draw_wave(degrees, frequency=frequency), 3).details[0][:, 4:-4, 4:-4]) ** 2).mean(axis=(1, 2))
    assert power.argmax() == BANDS[degrees]
    opposite = BANDS[180 - degrees]
    assert power[BANDS[degrees]] > 4 * power[opposite]


def test_magnitude_hardly_depends_on_where_the_crests_lie() -> None:
    phases = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    at_one_place = np.array([decompose(draw_wave(15, phase), 3).details[0][BANDS[15], 8, 8] for phase in phases])
    magnitude, real = np.abs(at_one_place), np.abs(at_one_place.real)
    assert magnitude.std() < 0.1 * magnitude.mean()
    assert real.std() > 0.4 * real.mean()


def test_is_linear_in_its_bands() -> None:
    a, b = np.random.default_rng(1).random((2, 40, 33), np.float32)
    of_a, of_b = decompose(a, 3), decompose(b, 3)
    details = tuple(x + y for x, y in zip(of_a.details, of_b.details, strict=True))
    np.testing.assert_allclose(reconstruct(Bands(of_a.low + of_b.low, details, of_a.shape)), a + b, atol=5e-6)
