"""Images from gradients: differences, their adjoint, and the screened Poisson equation solved by a cosine transform.

Neighbours beyond the border are the border's own pixels (Neumann), so that no gradient points out of the image and the discrete cosine
transform of type II diagonalises ∇ᵀ∇. One solve is two transforms, whatever the strength.
"""

import functools

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image
from prior.steps.smoothing import blur_wide

KEPT_SIDES = 64

Gradients = NDArray[np.float32]
"""Forward differences down and to the right, `(2, H, W)`; zero in the last row and in the last column."""


def find_gradients(image: Image) -> Gradients:
    """∇: how much brighter the pixel below and the pixel to the right are.

    Args:
        image: float32 `(H, W)`.

    Returns:
        float32 `(2, H, W)`.
    """
    gradients = np.zeros((2, *image.shape), np.float32)
    np.subtract(image[1:], image[:-1], out=gradients[0, :-1])
    np.subtract(image[:, 1:], image[:, :-1], out=gradients[1, :, :-1])
    return gradients


def gather_gradients(gradients: Gradients) -> Image:
    """∇ᵀ, the adjoint of `find_gradients` and minus the divergence: what flows into each pixel.

    Args:
        gradients: float32 `(2, H, W)`; what its last row holds downwards and its last column to the right does not count.

    Returns:
        float32 `(H, W)`, of sum zero.
    """
    down, right = gradients
    gathered = np.zeros(down.shape, np.float32)
    gathered[:-1] -= down[:-1]
    gathered[1:] += down[:-1]
    gathered[:, :-1] -= right[:, :-1]
    gathered[:, 1:] += right[:, :-1]
    return gathered


def pick_gradients(a: Image, b: Image, sigma: float) -> Gradients:
    """At every pixel the gradient of the source with more energy of gradients around.

    Args:
        a: one source, float32 `(H, W)`.
        b: the other source, of the same size.
        sigma: of the Gaussian window in which the energies are compared, px.

    Returns:
        float32 `(2, H, W)`; those of `a` on a tie.
    """
    gradients = find_gradients(a), find_gradients(b)
    energy_a, energy_b = (blur_wide((g * g).sum(0), sigma) for g in gradients)
    picked: Gradients = np.where(energy_a >= energy_b, *gradients)
    return picked


def solve_screened(image: Image, strength: float) -> Image:
    """The image F of (I + strength · ∇ᵀ∇) F = image: smooth where the strength is large, of the same mean.

    With `image = M + strength · gather_gradients(G)` it is the F of the least ‖F - M‖² + strength · ‖∇F - G‖².

    Args:
        image: float32 `(H, W)`, of any size and range.
        strength: of the smoothing, px², not negative.

    Returns:
        float32 `(H, W)`.
    """
    spectrum = fft.dctn(image, norm="ortho")
    down, right = (np.float32(strength) * _find_eigenvalues(side) for side in image.shape)
    spectrum /= (np.float32(1) + down)[:, None] + right
    solved: Image = fft.idctn(spectrum, norm="ortho", overwrite_x=True)
    return solved


@functools.lru_cache(maxsize=KEPT_SIDES)
def _find_eigenvalues(side: int) -> NDArray[np.float32]:
    """Those of ∇ᵀ∇ on a line of this many pixels, one per cosine; on an image, the sum of a row's and a column's."""
    eigenvalues: NDArray[np.float32] = (4 * np.sin(np.pi * np.arange(side) / (2 * side)) ** 2).astype(np.float32)
    eigenvalues.setflags(write=False)
    return eigenvalues


def keep_between(image: Image, a: Image, b: Image, room: float) -> Image:
    """An image that stays between two others, and a little room beyond them: what is black in both stays black.

    Args:
        image: float32 `(H, W)`.
        a: one bound of every pixel, in [0, 1].
        b: the other.
        room: how far a pixel may go below the darker and above the brighter bound, as a part of that bound.

    Returns:
        float32 `(H, W)` in [0, 1].
    """
    darkest, brightest = np.minimum(a, b), np.maximum(a, b)
    darkest *= np.float32(1 - room)
    brightest *= np.float32(1 + room)
    kept: Image = np.clip(image, darkest, np.minimum(brightest, np.float32(1)))
    return kept
