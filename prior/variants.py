"""Variants: sets of metric definitions that give the numbers a public implementation prints.

A variant says which of our definitions stands behind each name that the implementation prints. Where its definition is also ours, that
is our metric itself; where not, it is one registered as a variant of ours. A variant is not a criterion: it picks nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        printed: the implementation's own names, where they are not those of ours in capitals.
        left_out: what it prints and we do not give, with the reason; empty where there is nothing.
    """

    name: str
    title: str
    metrics: Mapping[str, str]
    printed: Mapping[str, str] = field(default_factory=dict)
    left_out: str = ""

    def find_metrics(self) -> tuple[tuple[str, Metric], ...]:
        """Every name with its definition, in the order of the table."""
        return tuple((name, find_metric(one)) for name, one in self.metrics.items())

    def find_printed(self, name: str) -> str:
        """What the implementation calls a metric."""
        return self.printed.get(name, name.upper())


def find_variant(name: str) -> Variant:
    """The variant of this name; raises UnknownName."""
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return VARIANTS[name]


def _own(names: str) -> dict[str, str]:
    """Names whose definition is ours."""
    return {name: name for name in names.split()}


_DIFF_IF = _own("en sd sf ag scd cc mse qabf") | {"mi": "mi_ln", "psnr": "psnr_peak_f"}
_DIFF_IF_NAMES = {"qabf": "Qabf", "vif": "VIFF"}
_TANG_NAMES = {"qabf": "Qabf", "nabf": "Nabf", "nabf_swapped": "Nabf", "fmi_pixel": "FMI (none)", "mef_ssim": "MEF_SSIM"}

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
                    **_own("ce ei en q_cb q_cv sd qabf"),
                    "ag": "ag_inner",
                    "mi": "mi_ln_stretched",
                    "psnr": "psnr_vifb",
                    "rmse": "rmse_vifb",
                    "sf": "sf_mn",
                    "ssim": "ssim_gaussian",
                },
                {"qabf": "Qabf", "q_cb": "Qcb", "q_cv": "Qcv"},
            ),
            Variant(
                "mefb",
                "MEFB (Zhang 2021), MATLAB",
                {
                    **_own("ce nmi q_c q_cb q_cv q_ncie q_p q_y qabf sd viff"),
                    "psnr": "psnr_vifb",
                    "q_te": "q_te_cvejic_swapped",
                    "q_w": "q_w_edges",
                },
                {"nmi": "Q_MI", "viff": "VIF", "q_w": "Qw", "qabf": "Qabf"},
                "its FMI, which takes the default feature `edge`: MATLAB's own edge() is not public",
            ),
            Variant(
                "liu2012",
                "Liu, Blasch, Xue, Zhao, Laganiere, Wu 2012, MATLAB",
                {
                    **_own("nmi q_ncie q_g q_m q_sf q_p q_s q_w q_e q_c q_y q_cv q_cb"),
                    "q_te": "q_te_swapped",
                    "q_te_cvejic": "q_te_cvejic_swapped",
                },
                {"nmi": "Q_MI"},
                "errors on constant images, and nan where one window of its Q_C or Q_Y is 0/0: ours leaves that window out",
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
                _TANG_NAMES,
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
                left_out="its Qabf, which differs from every known definition by up to 0.001",
            ),
        )
    }
)
