"""The judges: one file per metric or per family that shares its statistics; importing this package registers them all.

The one exception is `iqa`: a family whose metrics are made on demand, by their names `iqa:<model>`.
"""

from prior.metrics import average_gradient as average_gradient
from prior.metrics import cc as cc
from prior.metrics import ce as ce
from prior.metrics import deviation as deviation
from prior.metrics import edge_intensity as edge_intensity
from prior.metrics import entropy as entropy
from prior.metrics import fmi as fmi
from prior.metrics import iqa as iqa
from prior.metrics import mef_ssim as mef_ssim
from prior.metrics import mi as mi
from prior.metrics import ms_ssim as ms_ssim
from prior.metrics import mse as mse
from prior.metrics import nmi as nmi
from prior.metrics import petrovic as petrovic
from prior.metrics import piella as piella
from prior.metrics import psnr as psnr
from prior.metrics import q_cb as q_cb
from prior.metrics import q_cv as q_cv
from prior.metrics import q_g as q_g
from prior.metrics import q_m as q_m
from prior.metrics import q_ncie as q_ncie
from prior.metrics import q_p as q_p
from prior.metrics import q_sf as q_sf
from prior.metrics import q_te as q_te
from prior.metrics import qabf as qabf
from prior.metrics import scd as scd
from prior.metrics import spatial_frequency as spatial_frequency
from prior.metrics import ssim as ssim
from prior.metrics import ssim_gaussian as ssim_gaussian
from prior.metrics import vif as vif
from prior.metrics import viff as viff
from prior.metrics import yang_cvejic as yang_cvejic
