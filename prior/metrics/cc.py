"""Correlation of a candidate with its two sources.

Variances and covariances are whole numbers and exact; only the roots are rounded.

Reference: Deshmukh, Bhosale 2010, International Journal of Image Processing 4(5):484.
"""

from prior.passport import Difference, Passport
from prior.registry import metric_of_sources
from prior.statistics import Fused
from prior.statistics.histograms import count_candidate


@metric_of_sources(
    "cc",
    "mean",
    better="higher",
    term_noise="varies",
    bounds=(-1, 1),
    reference="Deshmukh, Bhosale 2010, International Journal of Image Processing 4(5):484",
    definition="r(X,F), the correlation of Pearson over all pixels, signed",
    passport=Passport(
        title="correlation coefficient",
        symbol="CC",
        meaning="How nearly the fused image is a linear function of each source.",
        combination="mean",
        dynamic_range="any: it does not change with scale or origin",
        undefined="where the fused image or a source is constant",
        noise="falls",
        blur="varies",
        golden="CC",
        differences=(
            Difference("Diff-IF", "single precision", "below 1e-7"),
            Difference("Linfeng Tang (MATLAB)", "takes the mean of A from B, too, which the fused image's own mean undoes", "none"),
        ),
    ),
)
def correlate(fused: Fused) -> tuple[float, float]:
    """Correlation of the candidate with source a and with source b; nan where either is constant."""
    with_a, with_b = fused.once(count_candidate)
    return with_a.correlation, with_b.correlation
