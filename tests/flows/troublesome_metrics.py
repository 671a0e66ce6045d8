"""A metric that misbehaves, brought by a plug-in."""

import os
import time

from prior.registry import metric
from prior.statistics import Fused

DEADLY, SLOW = 251, 252
"""Levels of a picture's first pixel."""


@metric("first_pixel", better="zero", bounds=(0, 255), reference="Nobody 2000", definition="F at the first pixel")
def judge_first_pixel(fused: Fused) -> float:
    """The first pixel's level, unless it is one at which this fails, hangs, or ends its process."""
    level = int(fused.image[0, 0])
    if level == DEADLY:
        os._exit(1)
    if level == SLOW:
        time.sleep(600)
    return float(level)
