"""The golden cases: six made triples of pictures, and what public implementations and a float64 reference print for them.

`values.csv` holds one row per case, metric and implementation. Rows of "refimpl(py)" are of an independent float64 implementation of the
definitions; all others were printed by the public code they name (MATLAB sources under Octave 7.3). An empty or `nan` value is what the
implementation printed, or that it failed. `c16_drawn`, alone large enough for every metric to be defined, has rows of "refimpl(py)" only.
"""

import csv
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from prior.arrays import Picture
from prior.pictures import read_picture

CASES = ("c07_gradients_avg", "c08_noise_avg", "c09_constant", "c11_tiny16", "c13_saturated_max", "c16_drawn")
REFERENCE = "refimpl(py)"
NOTHING = 2.0**-52 * 255**2
"""What double precision may leave of the difference of two equal squares of levels, 1.4e-11. A golden value below it is a zero in theory,
such as the error of a copy, and every number below it is equal to that."""
_NOISE = "rounding noise over 2e-16 in flat windows; ours leaves such windows out"
_LEVELS = "the reference counts the undefined levels of a constant source as 0; the MATLAB source fails, and ours is undefined"
_FLOATS = "float32 noise over no information"
EXCLUDED: Mapping[tuple[str, str], str] = {
    **{("q_y", case): _NOISE for case in ("c09_constant", "c15_const_source")},
    **{("q_c", case): _NOISE for case in ("c09_constant", "c13_saturated_max", "c15_const_source")},
    **{(name, "c15_const_source"): _LEVELS for name in ("q_ncie", "q_te_cvejic", "q_te_cvejic_swapped")},
    ("fmi_dct", "c15_const_source"): "rounding noise in the transform of a constant, of which ours makes 0",
    ("mef_ms_ssim", "c11_tiny16"): "the reference gives minus infinity where a scale is smaller than the window; ours is undefined",
    ("vif_released", "c11_tiny16"): "the released code swaps the image and the window below 17 px; ours is undefined below 41 px",
    **{("viff_sum", case): _FLOATS for case in ("c09_constant", "c15_const_source")},
}
"""Golden values that are no value of the metric, those of cases that do not travel with the package too: why, by metric and case."""
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """One golden case: two sources and a candidate, uint8 `(H, W)`."""

    name: str
    a: Picture
    b: Picture
    f: Picture


def read_case(name: str) -> Case:
    """One of `CASES`, decoded."""
    return Case(name, *(read_picture(_FOLDER / name / f"{which}.png").pixels for which in "abf"))


def list_values(metric: str, implementation: str = REFERENCE) -> Mapping[str, float]:
    """What an implementation prints for every case under this name; nan where it prints none, empty where the name is unknown."""
    return {case: value for (case, name, code), value in _read_values().items() if (name, code) == (metric, implementation)}


def measure_error(value: float, expected: float) -> float:
    """How far a number is from its golden value, relative to that; 0 where both are below `NOTHING`; nan where either is not finite."""
    if not (math.isfinite(value) and math.isfinite(expected)):
        return math.nan
    if max(abs(value), abs(expected)) < NOTHING:
        return 0.0
    return abs(value - expected) / abs(expected) if expected else math.inf


@functools.cache
def _read_values() -> Mapping[tuple[str, str, str], float]:
    with (_FOLDER / "values.csv").open(newline="") as lines:
        return {(row["case"], row["metric"], row["implementation"]): _parse(row["value"]) for row in csv.DictReader(lines)}


def _parse(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
