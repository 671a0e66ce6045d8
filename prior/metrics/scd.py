"""The sum of the correlations of differences: whether what a candidate adds to one source is what the other source shows.

All sums are whole numbers and exact at any size of image, so a difference that is constant is known to be; only the root is rounded.

Reference: Aslantas, Bendes 2015, 10.1016/j.aeue.2015.09.004.
"""

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import Joint, count_candidate, count_sources, divide_root


@metric_of_sources(
    "scd",
    "sum",
    better="higher",
    bounds=(-1, 1),
    reference="Aslantas, Bendes 2015, 10.1016/j.aeue.2015.09.004",
    definition="r(F - Y, X), Y the other source, r the correlation of Pearson over all pixels, on 0..255, signed",
    passport=Passport(
        title="sum of the correlations of differences",
        symbol="SCD",
        meaning="Whether what the fused image adds to one source is what the other source shows.",
        combination="sum",
        dynamic_range="0..255 as they are",
        undefined="where a source, or the fused image less a source, is constant",
        noise="varies",
        blur="varies",
        golden="SCD",
        differences=(
            Difference("Diff-IF", "single precision", "c01: 2e-7"),
            Difference(
                "one public copy",
                "the absolute values of both terms: the opposite of a source counts as much as the source",
                "only where a term is negative; c12: 1.426, not 0.428; c14: 1.155, not -1.155",
            ),
        ),
    ),
)
def compare_differences(fused: Fused) -> tuple[float, float]:
    """The correlation of source a with the candidate less source b, and of source b with the candidate less source a."""
    with_a, with_b = fused.once(count_candidate)
    between = fused.sources.once(count_sources).covariance
    return _correlate(with_a, with_b, between), _correlate(with_b, with_a, between)


def _correlate(own: Joint, other: Joint, between: int) -> float:
    """r(F - Y, X), with F and X in `own`, F and Y in `other` and the covariance of X and Y; all as whole numbers."""
    return divide_root(own.covariance - between, own.y.variance + other.x.variance - 2 * other.covariance, own.x.variance)
