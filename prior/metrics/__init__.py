"""The judges: one file per metric (with its per-source terms); importing this package registers them all.

The one exception is `iqa`: a family whose metrics are made on demand, by their names `iqa:<model>`.
"""

from prior.metrics import iqa as iqa
from prior.metrics import mi as mi
from prior.metrics import qabf as qabf
from prior.metrics import scd as scd
from prior.metrics import ssim as ssim
from prior.metrics import vif as vif
