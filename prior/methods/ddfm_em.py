"""DDFM's expectation-maximisation, with a gradient-domain prediction in place of the diffusion model's.

The fused image differs from either source by Laplacian noise, so that a pixel lies between the sources and near one of them: with
y = a - b and F = b + x, least |x| / scale_b + |y - x| / scale_a. The E-step turns the absolute values into weighted squares at the present
x and estimates both scales, the M-step solves them, with a smooth difference from `a` as a weak further wish. As in the paper, steps of
this likelihood alternate with a prediction of what the image would be on its own.

Reference: Z. Zhao, H. Bai, Y. Zhu, J. Zhang, S. Xu, Y. Zhang, K. Zhang, D. Meng, R. Timofte, L. Van Gool, "DDFM: Denoising diffusion model
for multi-modality image fusion", ICCV 2023:8082-8093, doi 10.1109/ICCV51070.2023.00742, arXiv 2303.06840.
Reconstructed: the prediction. In the paper it is that of a diffusion model of 0.55 billion weights; here the present image moves towards
the gradients of the more active source by one screened Poisson equation. Five steps: with many more, one scale shrinks until the image is
a copy of a source.
Deviations: the authors' program starts from x = F - b and returns a - x, so that the sources change places in every step; here F = b + x
throughout, and F(A, A) = A. It also keeps the weight of one source above a third; here neither is preferred. Its Fourier transforms join
each border to the opposite one; here borders are mirrored. What smoothness draws out from between the sources is put back at the end.
"""

import numpy as np

from prior.arrays import Image
from prior.registry import method
from prior.steps.solve import find_gradients, gather_gradients, keep_between, pick_gradients, solve_screened

STEPS = 5
STRENGTH = 16.0  # px², of the predicted gradients
ENERGY_SIGMA = 2.0  # px, of the window in which the energies of gradients are compared
SMOOTHNESS, SPLIT = 0.5, 0.001  # lambda and rho of the authors' program
SHRINKAGE = np.float32(SPLIT / (2 * SMOOTHNESS + SPLIT))  # of the auxiliary gradients
NEVER_ZERO = np.float32(1e-6)  # squared range
ONE, TWO, RHO = np.float32(1), np.float32(2), np.float32(SPLIT)


def _weigh(difference: Image, scale: float) -> Image:
    """E-step: the weight of the squared difference, the expected inverse of its variance."""
    weight: Image = np.sqrt(np.float32(2 / scale) / (difference * difference + NEVER_ZERO))
    return weight


def _update_scale(weight: Image, scale: float) -> float:
    """The mean of what the differences' variances are expected to be."""
    return float(np.mean(1 / weight, dtype=np.float64)) + scale / 2


@method(
    "ddfm_em",
    family="variational",
    reference="Zhao, Bai, Zhu, Zhang et al. 2023, doi 10.1109/ICCV51070.2023.00742",
    reconstructed="a gradient-domain prediction in place of the diffusion model",
)
def fuse_ddfm_em(a: Image, b: Image, *, steps: int = STEPS, strength: float = STRENGTH) -> Image:
    """What lies between the sources and near one of them, with the gradients of the more active one predicted.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        steps: of prediction, expectation and maximisation.
        strength: of the predicted gradients, px².

    Returns:
        float32 `(H, W)`, between the sources.
    """
    pull = np.float32(strength) * gather_gradients(pick_gradients(a, b, ENERGY_SIGMA))
    y, fused = a - b, np.float32(0.5) * (a + b)
    gradients = np.zeros((2, *a.shape), np.float32)
    scale_a = scale_b = 1.0
    for _ in range(steps):
        x = solve_screened(fused + pull, strength) - b
        weight_a, weight_b = _weigh(y - x, scale_a), _weigh(x, scale_b)
        scale_a, scale_b = _update_scale(weight_a, scale_a), _update_scale(weight_b, scale_b)
        smooth = solve_screened(y - x + gather_gradients(gradients), 1)
        gradients = SHRINKAGE * find_gradients(smooth)
        x = (TWO * weight_a * y + RHO * (y - smooth)) / (TWO * (weight_a + weight_b) + RHO)
        fused = b + x
    return keep_between(fused, a, b, 0)
