"""Learns `sparse_dictionary.npy`, the 256 atoms of 8 x 8 px that `prior.steps.sparse` codes patches with.

`python -m prior.learning.learn_dictionary`, half a minute on one core, no download; the same machine learns the same dictionary again.

It learns from photographs inside the scikit-image wheel, as they are and at half size: patches without their mean, of those that are not
nearly flat, all brought to one length, so that a dark photograph counts as much as a bright one.

Reference: M. Aharon, M. Elad, A. Bruckstein, "K-SVD: an algorithm for designing overcomplete dictionaries for sparse representation",
IEEE Trans. Signal Processing 54(11):4311-4322, 2006, doi 10.1109/TSP.2006.881199, with the one step of power iteration per atom of
R. Rubinstein, M. Zibulevsky, M. Elad, Technion CS-2008-08, 2008.
"""

import logging

import numpy as np
from numpy.typing import NDArray

from prior.arrays import to_image
from prior.examples import Box, load_photograph
from prior.steps.patches import Patches, cut_patches
from prior.steps.sparse import SIDE, Codes, Dictionary, centre, decode, encode
from prior.weights import FOLDER

logger = logging.getLogger(__name__)

PHOTOGRAPHS: dict[str, Box] = {
    "astronaut.png": (0, 0, 512, 512),
    "brick.png": (0, 0, 512, 512),
    "camera.png": (0, 0, 512, 512),
    "chelsea.png": (0, 0, 451, 300),
    "coffee.png": (0, 0, 600, 400),
    "coins.png": (0, 0, 384, 303),
    "gravel.png": (0, 0, 512, 512),
    "moon.png": (0, 0, 512, 512),
    "rocket.jpg": (0, 0, 640, 427),
}
"""Free of copyright (CC0, NASA, SpaceX, or no known restrictions), with the part that is used: all of each."""

ATOMS = 256
PER_IMAGE = 2000  # patches of a photograph at one size
FLAT = 2 / 255  # standard deviation below which a patch has nothing to teach
IN_A_CODE = 6  # atoms while learning
ROUNDS = 60
SEED = 0
TWINS = 0.99  # likeness of two atoms above which one of them is given away


def collect_patches(rng: np.random.Generator) -> Patches:
    """The patches to learn from, of mean 0 and length 1, `(n, SIDE * SIDE)`."""
    chosen = []
    for name, box in PHOTOGRAPHS.items():
        for shrink in (1, 2):
            patches, _ = centre(cut_patches(to_image(load_photograph(name, box, shrink)), SIDE, 1))
            patches = patches[patches.std(axis=1) > FLAT]
            chosen.append(patches[rng.choice(len(patches), PER_IMAGE, replace=False)])
    together = np.concatenate(chosen)
    together /= np.linalg.norm(together, axis=1, keepdims=True)
    return together


def learn_dictionary(patches: Patches, atoms: int, rounds: int, rng: np.random.Generator) -> Dictionary:
    """K-SVD: code all patches, then fit atom after atom, with its weights, to what the others leave; again and again.

    Args:
        patches: to learn from, float32 `(n, pixels)`, of mean 0 and length 1.
        atoms: number of atoms.
        rounds: of coding and fitting.
        rng: picks the patches that are the first atoms.

    Returns:
        float32 `(atoms, pixels)`, rows of length 1.
    """
    dictionary = patches[rng.choice(len(patches), atoms, replace=False)]
    for number in range(1, rounds + 1):
        codes = encode(patches, dictionary, 0, IN_A_CODE)
        dictionary, rest = fit_atoms(patches, codes, dictionary)
        logger.info("round %d: %.4f of a patch's length is left", number, np.sqrt((rest**2).sum(axis=1).mean()))
        dictionary = give_away_idle(dictionary, codes, patches, rest)
    return dictionary


def fit_atoms(patches: Patches, codes: Codes, dictionary: Dictionary) -> tuple[Dictionary, Patches]:
    """The dictionary with every atom fitted to the patches that use it, and what is left of each patch."""
    dictionary, weights = dictionary.copy(), codes.weights.copy()
    rest = patches - decode(codes, dictionary)
    for atom in range(len(dictionary)):
        users, places = np.nonzero(codes.atoms == atom)
        if len(users) == 0:
            continue
        own = rest[users] + weights[users, places][:, None] * dictionary[atom]
        fitted = weights[users, places] @ own
        dictionary[atom] = fitted / np.linalg.norm(fitted)
        weights[users, places] = own @ dictionary[atom]
        rest[users] = own - weights[users, places][:, None] * dictionary[atom]
    return dictionary, rest


def give_away_idle(dictionary: Dictionary, codes: Codes, patches: Patches, rest: Patches) -> Dictionary:
    """The dictionary with the worst coded patches in the place of atoms that hardly anyone uses and of atoms that have a twin."""
    uses = np.bincount(codes.atoms[codes.atoms >= 0], minlength=len(dictionary))
    likeness = np.abs(np.tril(dictionary @ dictionary.T, -1))
    idle = np.flatnonzero((uses < IN_A_CODE) | (likeness.max(axis=1) > TWINS))
    worst = np.argsort(-(rest**2).sum(axis=1), kind="stable")[: len(idle)]
    dictionary = dictionary.copy()
    dictionary[idle] = patches[worst]
    return dictionary


def sort_atoms(dictionary: Dictionary) -> NDArray[np.float32]:
    """Smooth atoms first, so that the array can be looked at; each begins with its positive side."""
    squares = dictionary.reshape(-1, SIDE, SIDE)
    roughness = (np.diff(squares, axis=1) ** 2).sum(axis=(1, 2)) + (np.diff(squares, axis=2) ** 2).sum(axis=(1, 2))
    signs = np.where(dictionary[:, :1] < 0, np.float32(-1), np.float32(1))
    return (signs * dictionary)[np.argsort(roughness, kind="stable")]


def main() -> None:
    """Learn the dictionary and write it into `prior/weights`."""
    logging.basicConfig(level=logging.INFO)
    rng = np.random.default_rng(SEED)
    patches = collect_patches(rng)
    logger.info("%d patches", len(patches))
    dictionary = sort_atoms(learn_dictionary(patches, ATOMS, ROUNDS, rng))
    np.save(FOLDER / "sparse_dictionary.npy", dictionary.astype(np.float32), allow_pickle=False)


if __name__ == "__main__":
    main()
