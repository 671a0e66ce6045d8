"""Compile every kernel once, so that nobody waits for it later: `python -m prior.warm_up`.

Numba keeps what it has compiled beside the code. Worth while in an image that many containers start from, and before tests that would
otherwise compile the same kernels in several processes at once.
"""

from prior import golden
from prior.evaluate import prepare
from prior.registry import methods, metrics
from prior.statistics import Fused, Sources


def compile_kernels() -> None:
    """Fuse a golden case by every method, and judge it by every metric."""
    case = golden.read_case("c08_noise_avg")
    fused = Fused(case.f, Sources(case.a, case.b))
    for metric in metrics().values():
        metric.judge(fused)
    scene = prepare(case.name, case.a, case.b)
    for method in methods().values():
        method.fuse(scene.a, scene.b)


if __name__ == "__main__":
    compile_kernels()
