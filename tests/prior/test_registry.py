"""The registry: names, sets, plug-ins of other packages, and what importing it leaves alone."""

import inspect
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prior import registry
from prior.arrays import Image
from prior.registry import TASKS, Method, find_method, find_metric, method, method_family, methods, metric, metrics, resolve_methods
from prior.statistics import Fused, Sources
from storage.errors import InputError, UnknownName

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of one's own, filled with what is registered."""
    monkeypatch.setattr(registry, "_methods", dict(methods()))
    monkeypatch.setattr(registry, "_metrics", dict(metrics()))
    monkeypatch.setattr(registry, "_method_families", dict(registry._method_families))


def blend(a: Image, b: Image, *, share: float = 0.5, steps: int = 3) -> Image:
    return np.float32(share) * a + np.float32(1 - share) * b


# Names.


@pytest.mark.usefixtures("tables")
def test_what_is_registered_is_found_with_what_it_says_of_itself() -> None:
    kept = method("blend", family="test", reference="Nobody 2000", version=4, sets=("slow",), licence="BSD", idempotent=False)(blend)
    found = find_method("blend")
    assert kept is blend is found.fuse, "the decorator gives the function back as it is"
    assert (found.family, found.reference, found.version, found.sets) == ("test", "Nobody 2000", 4, ("slow",))
    assert (found.needs, found.licence, found.idempotent) == ((), "BSD", False)
    assert found.parameters == {"share": 0.5, "steps": 3}

    def judge(fused: Fused) -> float:
        return 0.0

    assert metric("nought", better="zero", bounds=(-1, 1), reference="Nobody 2000", definition="0")(judge) is judge
    nought = find_metric("nought")
    assert (nought.judge, nought.better, nought.bounds, nought.version, nought.needs) == (judge, "zero", (-1, 1), 1, ())
    assert list(methods()) == sorted(methods()) and list(metrics()) == sorted(metrics())


@pytest.mark.usefixtures("tables")
def test_a_name_is_given_once() -> None:
    before = find_method("average")
    with pytest.raises(InputError, match="two methods are registered as 'average'; rename"):
        method("average", family="test", reference="Nobody 2000")(blend)
    with pytest.raises(InputError, match="two metrics are registered as 'ssim'; rename"):
        metric("ssim", better="higher", bounds=(0, 1), reference="", definition="")(lambda fused: 0.0)
    assert find_method("average") == before
    method("ssim", family="test", reference="a method may be called as a metric is")(blend)


def test_the_tables_are_in_order_and_cannot_be_written() -> None:
    for table in (methods(), metrics()):
        assert list(table) == sorted(table) and all(one.name == name for name, one in table.items())
        with pytest.raises(TypeError):
            table["new"] = None  # type: ignore[index]


def test_an_unknown_name_lists_the_nearest() -> None:
    with pytest.raises(UnknownName, match="unknown method 'laplacian'; did you mean laplacian_pyramid"):
        find_method("laplacian")
    with pytest.raises(UnknownName, match=r"unknown metric 'vif_c'; did you mean .*vif_a"):
        find_metric("vif_c")
    with pytest.raises(UnknownName, match=f"unknown method 'qqqq'; known: {', '.join(list(methods())[:3])}"):
        find_method("qqqq")
    with pytest.raises(KeyError):
        find_metric("SSIM")


@pytest.mark.parametrize("name", sorted(methods()))
def test_parameters_are_those_of_the_function(name: str) -> None:
    found = find_method(name)
    signature = inspect.signature(found.fuse).parameters
    assert list(found.parameters) == list(signature)[2:]
    assert all(default is not inspect.Parameter.empty and default is signature[key].default for key, default in found.parameters.items())


def test_some_method_has_parameters() -> None:
    assert find_method("gff").parameters["base_radius"] == 45
    assert find_method("average").parameters == {}


# Sets.


def test_sets_stand_for_their_members() -> None:
    everything = tuple(methods())
    fast = tuple(name for name, one in methods().items() if "fast" in one.sets)
    assert len(fast) >= 2
    assert resolve_methods(["all"]) == everything
    assert resolve_methods(["fast"]) == fast
    assert resolve_methods(["none"]) == resolve_methods([]) == ()
    assert resolve_methods(["none", "gff"]) == ("gff",)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_a_set_of_the_methods_meant_for_it(task: str) -> None:
    assert resolve_methods([task]) == tuple(name for name, one in methods().items() if task in one.tasks)


@pytest.mark.usefixtures("tables")
def test_the_standard_set_leaves_out_what_is_extreme() -> None:
    method("endless", family="test", reference="Nobody 2000", cost="extreme", tasks=("medical",), sets=("odd",))(blend)
    assert "endless" not in resolve_methods(["standard"]) and "gff" in resolve_methods(["standard"])
    assert all("endless" in resolve_methods([name]) for name in ("all", "medical", "odd"))
    assert "endless" not in resolve_methods(["infrared-visible"])
    assert find_method("endless").member_of == ("odd", "medical", "all")


@pytest.mark.usefixtures("tables")
def test_a_task_or_cost_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="method 'odd' is said to be for 'astronomy'; the tasks are infrared-visible, medical"):
        method("odd", family="test", reference="Nobody 2000", tasks=("astronomy",))
    with pytest.raises(InputError, match="method 'odd' is said to cost 'dear'; the costs are light, medium, heavy, extreme"):
        method("odd", family="test", reference="Nobody 2000", cost="dear")  # type: ignore[arg-type]


def test_fast_is_the_first_eight() -> None:
    assert resolve_methods(["fast"]) == ("average", "gff", "laplacian_pyramid", "maximum", "pca", "ratio_pyramid", "tif", "wavelet")


def test_names_are_sorted_and_each_stands_once() -> None:
    assert resolve_methods(["tif", "average", "tif"]) == ("average", "tif")
    assert resolve_methods(iter(["all", "gff", "fast"])) == tuple(methods())


@pytest.mark.usefixtures("tables")
def test_a_new_set_is_known_by_its_members() -> None:
    method("blend", family="test", reference="Nobody 2000", sets=("slow", "odd"))(blend)
    assert resolve_methods(["slow"]) == resolve_methods(["odd"]) == ("blend",)
    assert "blend" in resolve_methods(["all"])


@pytest.mark.parametrize("names", [["fats"], ["gff", "fats"], ["all", "fats"]])
def test_a_name_that_is_neither_method_nor_set_is_refused(names: list[str]) -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'fats'; did you mean .*fast"):
        resolve_methods(names)


# Families.


@pytest.mark.usefixtures("tables")
def test_a_family_makes_its_methods_on_demand_and_lists_none() -> None:
    @method_family("made:")
    def make(name: str) -> Method:
        if name != "made:blend":
            raise InputError(f"{name} cannot be made")
        return Method(name, blend, "test", "Nobody 2000", "abc", (), (), "MIT", False)

    found = find_method("made:blend")
    assert (found.name, found.version) == ("made:blend", "abc") and found.parameters == {"share": 0.5, "steps": 3}
    assert "made:blend" not in methods() and "made:blend" not in resolve_methods(["all", "fast"])
    assert resolve_methods(["tif", "made:blend", "made:blend"]) == ("made:blend", "tif")
    for ask in (find_method, lambda name: resolve_methods([name])):
        with pytest.raises(InputError, match="made:other cannot be made"):
            ask("made:other")
    with pytest.raises(UnknownName, match="unknown method 'makes:blend'"):
        find_method("makes:blend")
    assert make("made:blend") == found, "the decorator gives the function back as it is"


# Metrics of pyiqa.


def test_iqa_metrics_are_found_on_demand() -> None:
    pytest.importorskip("pyiqa")
    assert not any(name.startswith("iqa:") for name in metrics())
    found = find_metric("iqa:psnr")
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48)).astype(np.uint8)
    assert found.name == "iqa:psnr" and 5 < found.judge(Fused(images[0], Sources(images[1], images[2]))) < 15
    with pytest.raises(UnknownName, match="iqa:psnr"):
        find_metric("iqa:pnsr")


# In a process of their own: imports and plug-ins.


def run_python(code: str, *folders: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(map(str, (*folders, ROOT)))
    return subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)


def test_importing_the_registry_and_the_command_line_is_light() -> None:
    code = (
        "import sys, prior.registry as registry, flows.command_line; "
        "assert {'cv2', 'numba', 'numpy'}.isdisjoint(sys.modules), 'the names alone need no arrays'; "
        "registry.methods(); registry.metrics(); assert 'cv2' in sys.modules; "
        "print(sorted({'torch', 'pyiqa', 'prefect', 'distributed'} & set(sys.modules)))"
    )
    done = run_python(code)
    assert done.stdout.strip() == "[]", done.stderr


PLUG_IN = """
import numpy as np
from prior.registry import method, metric

@method("checkers", family="test", reference="Nobody 2000", sets=("fast", "board"))
def fuse_checkers(a, b, *, side=1):
    return np.where(np.indices(a.shape).sum(axis=0) // side % 2, a, b)

@metric("darkest", better="lower", bounds=(0, 255), reference="Nobody 2000", definition="min F")
def judge_darkest(fused):
    return float(fused.image.min())
"""


def install(folder: Path, module: str, code: str) -> None:
    """Lay a package with entry points into a folder, as an installer would."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fusion_prior.methods]\nx = {module}\n\n[fusion_prior.metrics]\nx = {module}\n")


def test_plug_ins_of_other_packages_join(tmp_path: Path) -> None:
    install(tmp_path, "board_games", PLUG_IN)
    code = (
        "from prior.registry import *; from prior.registry import resolve_methods; "
        "print(find_method('checkers').parameters, resolve_methods(['board']), 'checkers' in resolve_methods(['fast']), "
        "'average' in methods(), find_metric('darkest').better)"
    )
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == "{'side': 1} ('checkers',) True True lower", done.stderr


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("def begin():\n    raise OSError('the weights are gone')\n\nbegin()\n", "OSError: the weights are gone"),
        ("import no_such_module_at_all\n", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        (PLUG_IN.replace('"checkers"', '"average"'), "two methods are registered as 'average'; rename one of them"),
    ],
    ids=["raises", "misses a module", "takes a name"],
)
def test_a_plug_in_that_fails_stops_the_caller_with_its_own_traceback(tmp_path: Path, code: str, last: str) -> None:
    install(tmp_path, "broken_games", code)
    done = run_python("from prior.registry import methods; print(len(methods()))", tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert str(tmp_path / "broken_games.py") in done.stderr
    assert done.stderr.strip().endswith(last)
