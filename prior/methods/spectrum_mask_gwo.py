"""Spectrum masks: each source's spectrum is weighed ring by ring, and the fused image is the sum, with gains from grey wolves.

A ring is a smooth band of radial frequencies. In the lowest ring, that of brightness, the gains of the sources sum to one; in all others
each source has a gain of its own, which may strengthen or weaken what it has there.

Reference: E. Daniel, J. Anitha, K. K. Kamaleshwaran, I. Rani, "Optimum spectrum mask based medical image fusion using gray wolf
optimization", Biomedical Signal Processing and Control 34:36-43, 2017, doi 10.1016/j.bspc.2017.01.003.
Reconstructed: its text was not at hand. Masks that scale bands of the sources and the search (see `prior.steps.optimise`) are the paper's;
the rings, their number, the fitness and the constants are not. The gains are sought on a copy of 160 px at most, in whose cycles the rings
are counted; all that is finer belongs to the last. The spectrum is that of the image mirrored at its borders. Detail may be strengthened: a
source fused with itself is not left alone.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from prior.arrays import Image
from prior.registry import method
from prior.steps.fitness import Layers, Shares, Wishes, find_shares, shrink
from prior.steps.optimise import Bounds, Genes, search_with_wolves

RINGS = 8
INNERMOST, OUTERMOST = 1 / 64, 1 / 2  # cycles/px of the copy, radii of the first and the last ring
LOWEST_SHARE = (0.2, 0.8)  # of `a` in the lowest ring: neither source may be left out
GAIN = (0.2, 1.5)  # of a source in any other ring
MEMBERS, GENERATIONS = 20, 40
SEARCHED = 160  # px, longer side of the copy on which the gains are sought
HALF_PI = np.float32(np.pi / 2)
WISHES = Wishes(knowledge=1, weaker=2)  # chosen by eye and by scores on a few public pairs
GENES = 2 * RINGS - 1  # a's share of the lowest ring, then the gains of a and those of b
LOWER, UPPER = (np.array([LOWEST_SHARE[end]] + [GAIN[end]] * (GENES - 1)) for end in (0, 1))
BOUNDS = Bounds(LOWER, UPPER)


def _place_rings(shape: tuple[int, ...], copied: tuple[int, ...]) -> Image:
    """Where each entry of the cosine spectrum of an image of this shape lies among the rings, from 0, the first, to the last.

    Radii are cycles per pixel of a copy of the shape `copied`, so that a ring holds the same content in an image and in its copy; what is
    too fine for the copy belongs to the last ring.
    """
    rows, columns = (np.arange(side) / (2 * of_copy) for side, of_copy in zip(shape, copied, strict=True))
    radius = np.maximum(np.hypot(rows[:, None], columns), np.finfo(np.float64).tiny)
    place = np.log(radius / INNERMOST) / np.log(OUTERMOST / INNERMOST) * (RINGS - 1)
    clipped: Image = np.clip(place, 0, RINGS - 1).astype(np.float32)
    return clipped


def _open_ring(place: Image, number: int) -> Image:
    """The mask of a ring: a hat over the logarithm of the radius; those of all rings sum to one."""
    ring: Image = np.square(np.cos(HALF_PI * np.minimum(np.abs(place - np.float32(number)), np.float32(1))))
    return ring


def _cut(a: Image, b: Image) -> Layers:
    """The rings of `a`, then those of `b`."""
    place = _place_rings(a.shape, a.shape)
    rings = np.stack([_open_ring(place, number) for number in range(RINGS)])
    return np.concatenate([fft.idctn(fft.dctn(image, norm="ortho") * rings, axes=(1, 2), norm="ortho") for image in (a, b)])


def _apply(a: Image, b: Image, gains: Shares, copied: tuple[int, ...]) -> Image:
    """The sum of both sources, each spectrum weighed ring by ring: the gains of `a`'s rings, then those of `b`'s."""
    place = _place_rings(a.shape, copied)
    masks = np.zeros((2, *a.shape), np.float32)
    for number, both in enumerate(gains.reshape(2, RINGS).T.astype(np.float32)):
        masks += both[:, None, None] * _open_ring(place, number)
    spectrum = fft.dctn(a, norm="ortho") * masks[0] + fft.dctn(b, norm="ortho") * masks[1]
    fused: Image = fft.idctn(spectrum, norm="ortho", overwrite_x=True)
    return fused


def _decode(genes: Genes) -> Shares:
    """The gain of every ring of `a` and of `b`."""
    lowest, gains_a, gains_b = np.split(genes, [1, RINGS], axis=1)
    shares: NDArray[np.float64] = np.column_stack([lowest, gains_a, 1 - lowest, gains_b])
    return shares


@method(
    "spectrum_mask_gwo",
    family="optimised",
    reference="Daniel et al. 2017, doi 10.1016/j.bspc.2017.01.003",
    idempotent=False,
    tasks=("infrared-visible", "medical"),
    reconstructed="rings, fitness, constants",
)
def fuse_spectrum_mask_gwo(a: Image, b: Image, *, seed: int = 0) -> Image:
    """The sum of both sources, each ring of their spectra with the gain that grey wolves rate best.

    It changes contrast on purpose: two equal sources come back with stronger or weaker detail.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        seed: of the search's chance.

    Returns:
        float32 `(H, W)`; strengthened detail may leave [0, 1].
    """
    small = shrink(a, SEARCHED), shrink(b, SEARCHED)
    gains = find_shares(
        _cut(*small), small, _decode, BOUNDS, WISHES, search_with_wolves, members=MEMBERS, generations=GENERATIONS, seed=seed
    )
    return _apply(a, b, gains, small[0].shape)
