"""Variants: every one gives the numbers that the public implementation it is named after has printed."""

import csv
import functools
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from prior import golden
from prior.arrays import luma
from prior.pictures import read_picture
from prior.registry import find_metric, metrics
from prior.statistics import Fused, Sources
from prior.variants import VARIANTS, find_variant
from storage.errors import UnknownName

Grey = NDArray[np.uint8]

DIFF_IF = "Diff-IF Evaluator.py"
DIFF_IF_NAMES = {
    **{name: name.upper() for name in ("en", "sd", "sf", "ag", "scd", "cc", "mse", "psnr")},
    "mi": "MI(ln)",
    "qabf": "Qabf",
}
PRINTED: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "diff-if-released": (
        DIFF_IF,
        DIFF_IF_NAMES | {"ssim": "SSIM_sum(skimage<=0.19 behaviour: data_range=2)", "vif": "VIF_sum(called VIFF)"},
    ),
    "diff-if": (DIFF_IF, DIFF_IF_NAMES | {"ssim": "SSIM_sum(data_range=255)", "vif": "VIF_sum(called VIFF)"}),
    "vifb": (
        "VIFB.m @Octave7.3",
        {
            **{name: name.upper() for name in ("ag", "ce", "ei", "en", "mi", "psnr", "q_cb", "q_cv", "rmse", "sd", "sf", "ssim")},
            "qabf": "Qabf",
        },
    ),
    "mefb": (
        "MEFB.m @Octave7.3",
        {
            **{name: name.upper() for name in ("ce", "psnr", "q_c", "q_cb", "q_cv", "q_ncie", "q_p", "q_te", "q_w", "q_y", "sd")},
            "nmi": "Q_MI",
            "qabf": "Qabf",
            "viff": "VIFF_Han",
        },
    ),
    "liu2012": (
        "LiuTPAMI2012.m @Octave7.3",
        {
            **{f"q_{name}": f"Q_{name.upper()}" for name in ("c", "cb", "cv", "e", "g", "m", "ncie", "p", "s", "sf", "w", "y")},
            "nmi": "Q_MI",
            "q_te": "Q_TE_nava",
            "q_te_cvejic": "Q_TE_cvejic",
        },
    ),
    "tang-matlab": (
        "LinfengTang.m @Octave7.3",
        {
            **{name: name.upper() for name in ("ag", "cc", "en", "mef_ssim", "mi", "mse", "ms_ssim", "psnr", "scd", "sd", "sf", "vif")},
            "fmi_dct": "FMI_dct",
            "fmi_gradient": "FMI_gradient",
            "fmi_pixel": "FMI_none",
            "nabf": "Nabf",
            "nabf_swapped": "Nabf(args swapped as analysis_Reference.m calls it)",
            "qabf": "Qabf",
            "ssim": "SSIM_doubleL1_mean",
            "vif_a": "VIF_AF",
            "vif_b": "VIF_BF",
        },
    ),
}
SPELT: Mapping[str, Mapping[str, str]] = {
    # the lists of metrics that both run, util/configMetrics.m
    "vifb": {
        "ag": "Avg_gradient",
        "ce": "Cross_entropy",
        "ei": "Edge_intensity",
        "en": "Entropy",
        "mi": "Mutinf",
        "psnr": "Psnr",
        "q_cb": "Qcb",
        "q_cv": "Qcv",
        "rmse": "Rmse",
        "sd": "Variance",
        "sf": "Spatial_frequency",
        "ssim": "Ssim",
    },
    "mefb": {
        **{f"q_{name}": f"Q{name}" for name in ("c", "cb", "cv", "ncie", "p", "w", "y")},
        "ce": "Cross_entropy",
        "nmi": "NMI",
        "psnr": "Psnr",
        "q_te": "TE",
        "viff": "VIF",
    },
    "diff-if": {"ssim": "SSIM", "vif": "VIFF"},
    "diff-if-released": {"ssim": "SSIM", "vif": "VIFF"},
    "liu2012": {"q_te": "Q_TE"},
    "tang-matlab": {"ssim": "SSIM"},
}
"""Names that the code spells otherwise than the golden rows, which tell its definitions apart."""
SINGLE = 1e-6  # Diff-IF computes in float32
LOOSE: Mapping[tuple[str, str], float] = {
    ("mefb", "q_cb"): 2e-5,  # divides the levels by 255 first: halves round the other way
    ("mefb", "viff"): 5e-5,  # ties of the gain on c07
    ("mefb", "q_c"): 1e-3,  # rounding noise in flat windows: c01, c02
    ("mefb", "q_y"): 5e-4,
    ("liu2012", "q_c"): 1e-3,
    ("liu2012", "q_y"): 5e-4,
    ("diff-if-released", "ssim"): 1e-5,  # float32 sums with a tiny C
    **{(name, "q_cb"): 2e-6 for name in ("vifb", "liu2012")},  # so far from them is the float64 reference on c13
}
CONSTANT = ("c09_constant", "c15_const_source")  # the tradition of Liu et al. is not defined on constants: noise, or an error
EXCLUDED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("diff-if-released", "vif"): ("c11_tiny16",),  # swaps the image and the window below 17 px
    # A source without information counts as kept in full, which the text does not mean; and the swap.
    ("diff-if", "vif"): (*CONSTANT, "c11_tiny16"),
    # Flat windows: rounding noise over 2e-16, where ours leaves the window out, or is undefined where one window is.
    ("mefb", "q_c"): (*CONSTANT, "c13_saturated_max"),
    ("mefb", "q_y"): CONSTANT,
    ("mefb", "q_p"): CONSTANT,
    ("liu2012", "q_c"): (*CONSTANT, "c13_saturated_max"),
    **{("liu2012", name): CONSTANT for name in ("q_e", "q_p", "q_s", "q_w", "q_y")},
}
"""Cases where the implementation prints something that is no number of its definition."""


@functools.cache
def load(folder: Path) -> Fused:
    a, b, f = (luma(read_picture(folder / f"{which}.png").pixels) for which in "abf")
    return Fused(f, Sources(a, b))


def find_errors(folder: Path, rows: Mapping[tuple[str, str, str], str], variant: str) -> list[str]:
    """What is wrong with a variant's numbers on one case."""
    implementation, names = PRINTED[variant]
    wrong = []
    for name, printed in names.items():
        text = rows.get((folder.name, printed, implementation), "error")
        if text == "error" or folder.name in EXCLUDED.get((variant, name), ()):
            continue
        score, expected = find_metric(VARIANTS[variant].metrics[name]).judge(load(folder)), float(text)
        tolerance = LOOSE.get((variant, name), SINGLE)
        if math.isnan(expected) or expected == -math.inf:  # one window of many is 0/0, or the picture too small
            continue
        if not (score == expected or golden.measure_error(score, expected) <= tolerance):
            wrong.append(f"{name} on {folder.name}: {score}, printed {expected}")
    return wrong


def read_rows(path: Path) -> dict[tuple[str, str, str], str]:
    with path.open(newline="") as lines:
        return {(row["case"], row["metric"], row["implementation"]): row["value"] for row in csv.DictReader(lines)}


@pytest.mark.parametrize("variant", PRINTED)
def test_variants_print_the_golden_numbers_of_the_synthetic_cases(variant: str) -> None:
    folder = Path(golden.__file__).parent
    rows = read_rows(folder / "values.csv")
    assert not [error for case in golden.CASES for error in find_errors(folder / case, rows, variant)]


@pytest.mark.parametrize("variant", PRINTED)
def test_variants_print_the_golden_numbers_of_all_cases(shared: Path, variant: str) -> None:
    rows = read_rows(shared / "golden" / "values.csv")
    cases = sorted({case for case, _, _ in rows})
    assert not [error for case in cases for error in find_errors(shared / "golden" / case, rows, variant)]
    implementation, names = PRINTED[variant]
    assert {printed for _, printed, by in rows if by == implementation} >= set(names.values())


def test_every_name_of_a_variant_has_printed_numbers_or_a_reason_to_have_none() -> None:
    assert {name: set(VARIANTS[name].metrics) for name in PRINTED} == {name: set(printed) for name, (_, printed) in PRINTED.items()}


@pytest.mark.parametrize("variant", PRINTED)
def test_names_are_printed_as_the_code_spells_them(variant: str) -> None:
    _, rows = PRINTED[variant]
    expected = {name: row.partition("(")[0] for name, row in rows.items()} | SPELT.get(variant, {})
    assert VARIANTS[variant].printed == expected


def test_published_tables_saturate(shared: Path) -> None:
    tools = load_tools(shared / "tools" / "reference_metrics.py")
    for case in ("c04_tno05_seafusion", "c05_tno05_u2fusion", "c12_odd_127x93_lap"):
        fused = load(shared / "golden" / case)
        a, b, f = fused.sources.a, fused.sources.b, fused.image
        centred = np.clip(f.astype(float) - np.floor(f.mean() + 0.5), 0, 255)
        expected = {
            "en": tools.EN(f),
            "cc": tools.CC(a, b, f),
            "scd": tools.SCD(a, b, f),
            "sf": tools.SF_mean(f) / 255,
            "sd": math.sqrt(np.minimum(centred**2, 255).mean()),
            "ag": tools.AG_central(f, "m1"),
            "mi": tools.MI_tang(a, b, f),
            "vif": saturate_vif(tools, a, f) + saturate_vif(tools, b, f),
            "mse": tools.MSE(a, b, f) / 65025,
            "psnr": tools.PSNR_tang(a, b, f),
        }
        scores = {name: one.judge(fused) for name, one in find_variant("tang-published").find_metrics()}
        assert scores == pytest.approx(expected, rel=1e-6)


def load_tools(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_metrics", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def saturate_vif(tools: ModuleType, reference: Grey, distorted: Grey) -> float:
    """VIF as MATLAB computes it on uint8: at the first scale the products of levels stop at 255; deeper scales are double."""
    kept = there = 0.0
    x, y = reference.astype(float), distorted.astype(float)
    for scale in range(4):
        width = 2 ** (4 - scale) + 1
        window = tools.g1(width, width / 5)
        if scale:
            x, y = (tools.valid(image, window)[::2, ::2] for image in (x, y))
        top = 255.0 if scale == 0 else math.inf
        mean_x, mean_y = tools.valid(x, window), tools.valid(y, window)
        var_x = np.maximum(tools.valid(np.minimum(x * x, top), window) - mean_x**2, 0)
        var_y = np.maximum(tools.valid(np.minimum(y * y, top), window) - mean_y**2, 0)
        cov = tools.valid(np.minimum(x * y, top), window) - mean_x * mean_y
        gain = cov / (var_x + 1e-10)
        rest = var_y - gain * cov
        rest, gain, var_x = np.where(var_x < 1e-10, var_y, rest), np.where(var_x < 1e-10, 0, gain), np.where(var_x < 1e-10, 0, var_x)
        rest, gain = np.where(var_y < 1e-10, 0, rest), np.where(var_y < 1e-10, 0, gain)
        rest, gain = np.where(gain < 0, var_y, rest), np.where(gain < 0, 0, gain)
        kept += float(np.log10(1 + gain**2 * var_x / (np.maximum(rest, 1e-10) + 2)).sum())
        there += float(np.log10(1 + var_x / 2).sum())
    return kept / there


def test_every_variant_names_registered_metrics_and_says_whose_it_is() -> None:
    for name, one in VARIANTS.items():
        assert one.name == name and one.title
        assert all(metric.name in metrics() for _, metric in one.find_metrics())
        assert set(one.printed) == set(one.metrics)
    assert VARIANTS["tang-published"].printed["en"] == "EN"


def test_every_definition_that_is_not_ours_says_who_prints_it() -> None:
    used = {one for variant in VARIANTS.values() for one in variant.metrics.values()}
    others = [one for one in metrics().values() if one.variant_of and not one.term_of and one.name not in used]
    named = ("_petrovic", "_vifb")  # after whose they are
    assert [one.name for one in others if "print" not in one.definition and not one.name.endswith(named)] == []


def test_what_flat_windows_do_to_two_variants_is_said() -> None:
    for name, number in (("mefb", "5.915"), ("liu2012", "nan as soon as one window is 0/0")):
        assert "rounding errors" in VARIANTS[name].left_out and number in VARIANTS[name].left_out


def test_what_flat_windows_do_on_real_pictures_is_as_said(shared: Path) -> None:
    tools = load_tools(shared / "tools" / "reference_metrics.py")
    a, b, f = (luma(read_picture(shared / "data" / "vifb" / folder / "fight.jpg").pixels) for folder in ("ir", "vis", "fused/ADF"))
    with np.errstate(all="ignore"):
        theirs = tools.Q_C(a, b, f, True), tools.Q_Y(a, b, f, True)
    ours = [find_metric(name).judge(Fused(f, Sources(a, b))) for name in ("q_c", "q_y")]
    assert ours == pytest.approx([0.771, 0.769], abs=5e-4)
    assert not any(abs(one - other) <= 1e-3 for one, other in zip(ours, theirs, strict=True))
    told = [one.size for one in find_metric("q_c").passport.differences if one.code == "MEFB, on real pictures"]  # type: ignore[union-attr]
    assert len(told) == 1 and "fight, ADF: 5.915, not 0.771" in told[0]


def test_an_unknown_variant_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown variant 'tang'; did you mean"):
        find_variant("tang")
