"""The methods: one file each. To add one, write its file and a line here; importing the module registers it."""

from prior.methods import average as average
from prior.methods import gff as gff
from prior.methods import laplacian_pyramid as laplacian_pyramid
from prior.methods import maximum as maximum
from prior.methods import pca as pca
from prior.methods import ratio_pyramid as ratio_pyramid
from prior.methods import tif as tif
from prior.methods import wavelet as wavelet
