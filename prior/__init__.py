"""What is computed: pairs in, candidates, scores and selections out."""

from pathlib import Path

from prior.kernels import forget_stale

forget_stale(Path(__file__).parent)
