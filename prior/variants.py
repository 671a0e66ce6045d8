"""Variants: sets of metric definitions that give the numbers a public implementation prints.

A variant says which of our definitions stands behind each name that the implementation prints. Where its definition is also ours, that
is our metric itself; where not, it is one registered as a variant of ours. A variant is not a criterion: it picks nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from prior.registry import Metric, find_metric
from storage.errors import unknown_name


@dataclass(frozen=True, slots=True)
class Variant:
    """The metrics of one public implementation.

    Attributes:
        name: lower-case id.
        title: whose implementation.
        metrics: for every name of ours, the id of the definition that gives the implementation's number.
        printed: for every name of ours, the implementation's own, as its code spells it.
        left_out: what it prints and we do not give, with the reason; empty where there is nothing.
    """

    name: str
    title: str
    metrics: Mapping[str, str]
    printed: Mapping[str, str]
    left_out: str = ""

    def find_metrics(self) -> tuple[tuple[str, Metric], ...]:
        """Every name with its definition, in the order of the table."""
        return tuple((name, find_metric(one)) for name, one in self.metrics.items())


def find_variant(name: str) -> Variant:
    """The variant of this name; raises UnknownName."""
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return VARIANTS[name]


def _own(names: str) -> dict[str, str]:
    """Names whose definition is ours."""
    return {name: name for name in names.split()}


def _spell(names: str) -> dict[str, str]:
    """Printed names that are ours but for their case."""
    return {name.lower(): name for name in names.split()}


_DIFF_IF = _own("en sd sf ag scd cc mse qabf") | {"mi": "mi_ln", "psnr": "psnr_peak_f"}
_DIFF_IF_NAMES = _spell("EN SD SF AG SCD CC MSE MI PSNR SSIM Qabf") | {"vif": "VIFF"}
_TANG_NAMES = _spell("EN SD SF AG MI CC SCD VIF MSE PSNR")
_FLAT = "its {} and {} where windows are flat, as in saturated areas and on most pairs of VIFB: rounding errors divided by each other"

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        one.name: one
        for one in (
            Variant(
                "diff-if-released",
                "Diff-IF (Yi et al. 2024), Evaluator.py as released, with scikit-image up to 0.19",
                _DIFF_IF | {"ssim": "ssim_l2", "vif": "vif_released"},
                _DIFF_IF_NAMES,
                "numbers on images below 41 px: its VIF swaps the operands of the convolution there",
            ),
            Variant(
                "diff-if",
                "Diff-IF (Yi et al. 2024), Evaluator.py as its text intends it: SSIM with the range 255, an undefined VIF stays undefined",
                _DIFF_IF | _own("ssim vif"),
                _DIFF_IF_NAMES,
            ),
            Variant(
                "vifb",
                "VIFB (Zhang, Ye, Xiao 2020), MATLAB",
                {
                    **_own("ce ei en q_cb q_cv sd"),
                    "ag": "ag_inner",
                    "mi": "mi_ln_stretched",
                    "psnr": "psnr_vifb",
                    "qabf": "qabf_vifb",
                    "rmse": "rmse_vifb",
                    "sf": "sf_mn",
                    "ssim": "ssim_gaussian",
                },
                {
                    **_spell("Psnr Qabf Rmse Ssim"),
                    "ag": "Avg_gradient",
                    "ce": "Cross_entropy",
                    "ei": "Edge_intensity",
                    "en": "Entropy",
                    "mi": "Mutinf",
                    "q_cb": "Qcb",
                    "q_cv": "Qcv",
                    "sd": "Variance",
                    "sf": "Spatial_frequency",
                },
            ),
            Variant(
                "mefb",
                "MEFB (Zhang 2021), MATLAB",
                {
                    **_own("ce nmi q_c q_cb q_cv q_ncie q_p q_y sd viff"),
                    "psnr": "psnr_vifb",
                    "q_te": "q_te_cvejic_swapped",
                    "q_w": "q_w_edges",
                    "qabf": "qabf_vifb",
                },
                {
                    **_spell("NMI Psnr Qabf SD"),
                    **{f"q_{name}": f"Q{name}" for name in ("c", "cb", "cv", "ncie", "p", "w", "y")},
                    "ce": "Cross_entropy",
                    "q_te": "TE",
                    "viff": "VIF",
                },
                "its FMI, which takes the default feature `edge`: MATLAB's own edge() is not public; "
                "its Entropy, Avg_gradient, Edge_intensity, Spatial_frequency and MEF_SSIM, of which there are no golden values; "
                f"{_FLAT.format('Qc', 'Qy')}, such as 5.915 and inf for the result of ADF on VIFB's `fight`, 0.771 and 0.769 here",
            ),
            Variant(
                "liu2012",
                "Liu, Blasch, Xue, Zhao, Laganiere, Wu 2012, MATLAB",
                {
                    **_own("nmi q_ncie q_g q_m q_sf q_p q_s q_w q_e q_c q_y q_cv q_cb"),
                    "q_te": "q_te_swapped",
                    "q_te_cvejic": "q_te_cvejic_swapped",
                },
                {
                    **_spell("Q_NCIE Q_G Q_M Q_SF Q_P Q_S Q_W Q_E Q_C Q_Y Q_CV Q_CB Q_TE"),
                    "nmi": "Q_MI",
                    "q_te_cvejic": "Q_TE_cvejic",
                },
                f"errors on constant images; {_FLAT.format('Q_C', 'Q_Y')}, and nan as soon as one window is 0/0: of ADF and GFF, "
                "on 19 and on 6 of VIFB's 21 pairs; ours leaves such windows out",
            ),
            Variant(
                "tang-matlab",
                "Tang's Evaluation for Image Fusion, MATLAB, today's code",
                {
                    **_own("en sd sf cc scd qabf nabf nabf_swapped mef_ssim vif vif_a vif_b fmi_pixel fmi_gradient fmi_dct"),
                    "ag": "ag_inner",
                    "mi": "mi_saturated",
                    "mse": "mse_unit",
                    "psnr": "psnr_unit",
                    "ssim": "ssim_matlab_l1",
                    "ms_ssim": "mef_ms_ssim",
                },
                {
                    **_TANG_NAMES,
                    **_spell("Qabf Nabf SSIM MS_SSIM MEF_SSIM FMI_dct FMI_gradient"),
                    "fmi_pixel": "FMI_none",
                    "nabf_swapped": "Nabf",
                    "vif_a": "VIF_AF",
                    "vif_b": "VIF_BF",
                },
                "its FMI_pixel, which takes the default feature `edge`, and FMI_w: MATLAB's edge() and its filter are not public",
            ),
            Variant(
                "tang-published",
                "Tang's published tables, computed on uint8 arrays that saturate",
                {
                    **_own("en cc scd"),
                    "sf": "sf_unit",
                    "sd": "sd_saturated",
                    "ag": "ag_inner",
                    "mi": "mi_saturated",
                    "vif": "vif_saturated",
                    "mse": "mse_unit",
                    "psnr": "psnr_unit",
                },
                _TANG_NAMES,
                "its Qabf, which differs from every known definition by up to 0.001",
            ),
        )
    }
)
