"""NSST-PAPCNN: shearlet bands, the detail chosen by a pulse-coupled neural network that sets its own parameters from each band.

One neuron per coefficient is fed with the coefficient's magnitude and with the pulses of its eight neighbours, and fires when it exceeds
a threshold that each pulse raises and time lowers; the source whose neuron fires more often gives the coefficient. Of the low band the
source is kept that is both brighter and more structured around the pixel.

Reference: M. Yin, X. Liu, Y. Liu, X. Chen, "Medical image fusion with parameter-adaptive pulse coupled neural network in nonsubsampled
shearlet transform domain", IEEE Trans. Instrumentation and Measurement 68(1):49-64, 2019, doi 10.1109/TIM.2018.2838778; constants
checked with the authors' program.
Deviations: the transform is of NSST type (`prior.steps.nsst`); Otsu's threshold is found on 256 levels of the band's own range, not of
[0, 1], in which the faint bands would have one level only; where both neurons fire equally often the larger coefficient is kept, not always
the first source's; where both low bands are flat their mean is kept. The Laplacian of the low band is the paper's; the program sums
magnitudes of first differences instead. The paper's rule for colour (luma of YUV) is the pipeline's.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit

from prior.arrays import Image
from prior.registry import method
from prior.steps.activity import measure_local_energy, measure_wseml
from prior.steps.choice import pick_larger
from prior.steps.nsst import DIRECTIONS, combine

ITERATIONS = 110
LEVELS = 255  # of magnitude, for Otsu's threshold
STRUCTURELESS = 1e-5  # of a Laplacian: what rounding leaves of a flat low band
HALF = np.float32(0.5)
ZERO, ONE = np.float32(0), np.float32(1)


@dataclass(frozen=True, slots=True)
class Neurons:
    """What all neurons of a band have in common.

    Attributes:
        decay: of the activity per step, a factor.
        linking: how much the neighbours' pulses add.
        jump: of the threshold at a pulse.
        fade: of the threshold per step, a factor.
    """

    decay: np.float32
    linking: np.float32
    jump: np.float32
    fade: np.float32


def _choose_low(a: Image, b: Image) -> Image:
    structure_a, structure_b = measure_wseml(a), measure_wseml(b)
    chosen = np.where(measure_local_energy(a) * structure_a >= measure_local_energy(b) * structure_b, a, b)
    flat = np.maximum(structure_a, structure_b) < STRUCTURELESS
    return np.where(flat, HALF * (a + b), chosen)


def _choose_band(a: Image, b: Image, iterations: int) -> Image:
    fired_a, fired_b = _stimulate(np.abs(a), iterations), _stimulate(np.abs(b), iterations)
    return np.where(fired_a > fired_b, a, np.where(fired_a < fired_b, b, pick_larger(a, b)))


def _stimulate(magnitude: Image, iterations: int) -> Image:
    """How often each neuron of a band fires."""
    largest = float(magnitude.max())
    if largest == 0:
        return magnitude
    neurons = _adapt(float(np.std(magnitude, dtype=np.float64)), largest, _find_threshold(magnitude, largest))
    fired = np.zeros_like(magnitude)
    _fire(magnitude, neurons.decay, neurons.linking, neurons.jump, neurons.fade, iterations, fired)
    return fired


def _find_threshold(magnitude: Image, largest: float) -> float:
    """Otsu's threshold between faint and strong magnitudes; at least one level, since the network divides by it."""
    levels = cv2.convertScaleAbs(magnitude, alpha=LEVELS / largest)
    level, _ = cv2.threshold(levels, 0, LEVELS, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return max(level, 1) / LEVELS * largest


def _adapt(deviation: float, largest: float, threshold: float) -> Neurons:
    """The parameters of a band: alpha_f = log10(1 / deviation), beta V_L = (largest / threshold - 1) / 6, V_E, alpha_e."""
    decay = deviation ** (1 / math.log(10))  # exp(-alpha_f), which is 0 for a band of one magnitude
    ratio = largest / threshold
    jump = decay + ratio
    reached = 1 + decay + decay**2 + (ratio - 1) * decay  # a neuron of unit magnitude at its first pulses
    return Neurons(*(np.float32(x) for x in (decay, (ratio - 1) / 6, jump, threshold * reached / jump)))


@njit(cache=True, nogil=True)
def _fire(magnitude, decay, linking, jump, fade, iterations, fired):  # type: ignore[no-untyped-def]
    height, width = magnitude.shape
    activity, threshold = np.zeros((height, width), np.float32), np.ones((height, width), np.float32)
    pulses, following = np.zeros((height + 2, width + 2), np.float32), np.zeros((height + 2, width + 2), np.float32)
    for _ in range(iterations):
        for i in range(height):  # row by row: of whole arrays the compiler makes no vector code
            north, here, south = pulses[i], pulses[i + 1], pulses[i + 2]
            _fire_row(north, here, south, magnitude[i], decay, linking, jump, fade, activity[i], threshold[i], fired[i], following[i + 1])
        pulses, following = following, pulses


@njit(cache=True, nogil=True)
def _fire_row(north, here, south, magnitude, decay, linking, jump, fade, activity, threshold, fired, following):  # type: ignore[no-untyped-def]
    for j in range(len(magnitude)):
        diagonal = north[j] + north[j + 2] + south[j] + south[j + 2]
        linked = HALF * diagonal + north[j + 1] + south[j + 1] + here[j] + here[j + 2]
        active = decay * activity[j] + magnitude[j] * (ONE + linking * linked)
        pulse = ONE if active > threshold[j] else ZERO
        activity[j] = active
        threshold[j] = fade * threshold[j] + jump * pulse
        fired[j] += pulse
        following[j + 1] = pulse


@method(
    "nsst_papcnn",
    family="shearlet",
    reference="Yin, Liu, Liu, Chen 2019, doi 10.1109/TIM.2018.2838778",
    tasks=("medical",),
    cost="heavy",
    reconstructed="the transform's filters",
)
def fuse_nsst_papcnn(a: Image, b: Image, *, iterations: int = ITERATIONS, directions: tuple[int, ...] = DIRECTIONS) -> Image:
    """Detail bands chosen by a pulse-coupled network, low bands by energy times structure.

    Args:
        a: one source, float32 `(H, W)` in [0, 1].
        b: the other source, of the same size.
        iterations: steps of the network.
        directions: of each scale, coarse to fine.

    Returns:
        float32 `(H, W)`; halos may leave [0, 1] slightly.
    """
    return combine(a, b, _choose_low, lambda x, y: _choose_band(x, y, iterations), directions)
