"""The judges: one file per metric (with its per-source terms); importing this package registers them all.

The one exception is `iqa`: its metrics are looked up on demand by their names `iqa:<model>` and are not registered.
"""

from prior.metrics import qabf as qabf
from prior.metrics import ssim as ssim
from prior.metrics import vif as vif
