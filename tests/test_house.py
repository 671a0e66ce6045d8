"""The house: which way imports point, what may stand where, and that the README names every method and metric."""

import ast
import functools
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from prior.registry import methods, metrics

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"

ARROWS = {
    "flows": ("flows", "prior", "train", "storage"),
    "prior": ("prior", "storage.schema", "storage.errors"),
    "train": ("train", "storage"),
    "storage": ("storage",),
}
"""What each package may import of ours."""

MAY_PRINT = ("flows/command_line.py", "flows/output.py")
MAX_BODY, MAX_MODULE = 60, 400  # lines

Function = ast.FunctionDef | ast.AsyncFunctionDef


def list_files(*folders: str) -> list[str]:
    """The Python files of some folders, from the root."""
    return sorted(path.relative_to(ROOT).as_posix() for folder in folders for path in (ROOT / folder).rglob("*.py"))


PACKAGES = list_files(*ARROWS)
OUTSIDE_TESTS = [*PACKAGES, *list_files("benchmarks")]
TESTS = [name for name in list_files("tests") if Path(name).name.startswith("test_")]


@functools.cache
def parse(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def find_nodes(name: str, fits: Callable[[ast.AST], bool]) -> list[str]:
    """Where a file has a node of some kind, as `file:line`."""
    return [f"{name}:{node.lineno}" for node in ast.walk(parse(name)) if hasattr(node, "lineno") and fits(node)]


def list_imports(name: str) -> Iterator[str]:
    """Every name that a file imports, wherever in it, with a leading dot where the import is relative."""
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{one.name}" for one in node.names)


def lies_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == one or name.startswith(f"{one}.") for one in packages)


def list_functions(name: str) -> list[Function]:
    return [node for node in ast.walk(parse(name)) if isinstance(node, Function)]


def calls(node: ast.AST) -> str:
    """The last name of what a node calls, or nothing."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_there_is_something_to_look_at() -> None:
    assert {"flows/build.py", "prior/registry.py", "storage/schema.py", "benchmarks/bench_metrics.py"} <= set(OUTSIDE_TESTS)
    assert "tests/test_house.py" in TESTS


# Which way imports point.


@pytest.mark.parametrize("name", PACKAGES)
def test_no_arrow_points_back(name: str) -> None:
    ours = [one for one in list_imports(name) if lies_in(one, tuple(ARROWS))]
    allowed = ARROWS[Path(name).parts[0]]
    assert [one for one in ours if not lies_in(one, allowed)] == []


@pytest.mark.parametrize("name", OUTSIDE_TESTS)
def test_imports_are_absolute(name: str) -> None:
    assert [one for one in list_imports(name) if one.startswith(".")] == []


def test_only_one_module_knows_pyiqa() -> None:
    assert [name for name in OUTSIDE_TESTS if any(lies_in(one, ("pyiqa",)) for one in list_imports(name))] == ["prior/metrics/iqa.py"]


def test_only_flows_know_prefect_and_dask_and_the_command_line() -> None:
    theirs = ("prefect", "dask", "distributed", "typer", "rich")
    knowing = {Path(name).parts[0] for name in PACKAGES if any(lies_in(one, theirs) for one in list_imports(name))}
    assert knowing == {"flows"}


def test_only_storage_opens_the_store() -> None:
    theirs = ("icechunk", "zarr", "pyarrow.parquet", "xarray")
    knowing = {Path(name).parts[0] for name in PACKAGES if any(lies_in(one, theirs) for one in list_imports(name))}
    assert knowing == {"storage"}


# What may stand where.


@pytest.mark.parametrize("name", OUTSIDE_TESTS)
def test_checks_raise_and_never_assert(name: str) -> None:
    assert find_nodes(name, lambda node: isinstance(node, ast.Assert)) == []


@pytest.mark.parametrize("name", [name for name in PACKAGES if name not in MAY_PRINT])
def test_only_the_command_line_prints(name: str) -> None:
    assert find_nodes(name, lambda node: isinstance(node, ast.Name) and node.id == "print") == []


def reads_environment(node: ast.AST) -> bool:
    names = ("environ", "environb", "getenv", "putenv", "unsetenv")
    imported = [one.name for one in node.names] if isinstance(node, ast.ImportFrom) and node.module == "os" else []
    is_attribute = (
        isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and (node.value.id, node.attr in names) == ("os", True)
    )
    return is_attribute or any(one in names for one in imported)


def test_only_flows_know_the_environment() -> None:
    assert {Path(name).parts[0] for name in OUTSIDE_TESTS if find_nodes(name, reads_environment)} == {"flows"}


@pytest.mark.parametrize("name", OUTSIDE_TESTS)
def test_functions_and_modules_are_short(name: str) -> None:
    long = {one.name: count_body(one) for one in list_functions(name) if count_body(one) > MAX_BODY}
    assert long == {}
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= MAX_MODULE


def count_body(function: Function) -> int:
    """The lines of a function below its docstring."""
    first, *rest = function.body
    if rest and isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        first = rest[0]
    return (function.end_lineno or 0) - first.lineno + 1


@pytest.mark.parametrize("name", OUTSIDE_TESTS)
def test_nothing_is_left_to_do(name: str) -> None:
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", (ROOT / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("name", [name for name in PACKAGES if Path(name).parts[0] in ("storage", "train")])
def test_nothing_that_is_kept_is_pickled(name: str) -> None:
    theirs = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
    assert [one for one in list_imports(name) if lies_in(one, theirs)] == []
    assert find_nodes(name, lambda node: calls(node) == "load" and isinstance(node.func, ast.Attribute) and is_torch(node.func.value)) == []
    assert find_nodes(name, lambda node: isinstance(node, ast.keyword) and node.arg == "allow_pickle" and is_true(node.value)) == []


def is_torch(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "torch"


def is_true(node: ast.AST) -> bool:
    return not (isinstance(node, ast.Constant) and node.value is False)


# Flow files.


def has_flow(name: str) -> bool:
    """Whether a file defines a Prefect flow."""
    marks = [mark for one in list_functions(name) for mark in one.decorator_list]
    bare = [mark.func if isinstance(mark, ast.Call) else mark for mark in marks]
    return any("flow" in (getattr(one, "attr", ""), getattr(one, "id", "")) for one in bare)


FLOWS = [name for name in PACKAGES if has_flow(name)]


def test_flows_live_in_flows() -> None:
    assert "flows/build_prior.py" in FLOWS
    assert {Path(name).parts[0] for name in FLOWS} == {"flows"}


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_is_called_verb_noun_as_its_file_is(name: str) -> None:
    stem = Path(name).stem
    assert re.fullmatch(r"[a-z]+_[a-z]+", stem)
    assert stem in [one.name for one in list_functions(name)]
    assert f'name="{stem.replace("_", "-")}"' in (ROOT / name).read_text(encoding="utf-8")


def test_no_flow_file_has_the_name_of_a_package() -> None:
    # Prefect runs a flow file by its path, and Python then finds the files beside it before any package
    used = {one.lstrip(".").partition(".")[0] for name in PACKAGES for one in list_imports(name)}
    stems = {Path(name).stem for name in list_files("flows")} - {"__init__"}
    assert stems & (used | set(ARROWS) | set(sys.stdlib_module_names)) == set()
    assert [name for name in FLOWS if importlib.util.find_spec(Path(name).stem)] == []


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_has_real_annotations(name: str) -> None:
    assert "__future__.annotations" not in list(list_imports(name)), "Prefect reads the parameters' types from the annotations"


# Tests.


@pytest.mark.parametrize("name", TESTS)
def test_every_test_asserts_something(name: str) -> None:
    functions = {one.name: one for one in list_functions(name)}
    tests = [one for one in functions.values() if one.name.startswith("test_")]
    assert tests
    assert [one.name for one in tests if not checks(one, functions, frozenset())] == []


def checks(function: Function, functions: Mapping[str, Function], seen: frozenset[str]) -> bool:
    """Whether a function asserts something, itself or by a function of its file that it calls."""
    for node in ast.walk(function):
        called = calls(node)
        if isinstance(node, ast.Assert) or called.startswith("assert_") or called in ("raises", "warns", "fail"):
            return True
        if called in functions.keys() - seen and checks(functions[called], functions, seen | {called}):
            return True
    return False


@pytest.mark.parametrize("code", ["x = 1", "check(1)", "once(1)", "print(check)"])
def test_a_test_without_an_assertion_would_be_found(code: str) -> None:
    tree = ast.parse(f"def test_it():\n    {code}\n\ndef check(x):\n    return once(x)\n\ndef once(x):\n    return check(x)\n")
    functions = {one.name: one for one in tree.body if isinstance(one, ast.FunctionDef)}
    assert not checks(functions["test_it"], functions, frozenset())


# Documents.


@pytest.mark.parametrize("name", [*methods(), *(name for name, one in metrics().items() if not (one.term_of or one.variant_of))])
def test_every_method_and_metric_stands_in_a_table_of_the_readme(name: str) -> None:
    assert f"| `{name}` |" in README.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml"])
def test_documents_are_there(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8")) > 100
