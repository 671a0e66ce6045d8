"""Recipes: what is asked for is checked whole, before any work, and a refusal says where and why."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flows.recipe import DEFAULT_METHODS, Recipe, SourceBlock, collect_recipe, make_recipe, read_recipe
from prior.criterion import PROFILES, parse_criterion
from prior.evaluate import STANDARD_METRICS
from prior.registry import resolve_methods
from storage.errors import FusionPriorError, InputError, UnknownName
from storage.schema import TASKS

EXAMPLE = Path(__file__).resolve().parents[2] / "flows" / "recipes" / "example.toml"
BLOCK = {"a": "ir", "b": "vis"}


def write(folder: Path, text: str) -> Path:
    """A recipe file in a folder of its own."""
    path = folder / "recipes" / "mine.toml"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    return path


def with_source(**fields: object) -> dict[str, Any]:
    """The values of a recipe with one source."""
    return {"source": [BLOCK | fields]}


# Defaults.


def test_an_empty_recipe_asks_for_the_examples_with_every_default() -> None:
    recipe = make_recipe({})
    assert recipe == Recipe() == collect_recipe()
    assert recipe.source == () and recipe.criterion == "diff-if" and recipe.keep == "winners"
    assert recipe.metric_names() == STANDARD_METRICS
    assert (recipe.max_shift, recipe.allow_copies, recipe.max_failures, recipe.time_limit) == (None, False, 0.5, 300)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_default_methods(task: str) -> None:
    recipe = make_recipe(with_source(task=task))
    assert len(recipe.methods_of(recipe.source[0])) >= 2
    assert set(DEFAULT_METHODS) == set(TASKS)


def test_methods_of_a_source_go_before_those_of_the_recipe() -> None:
    blocks = [BLOCK | {"name": "x", "methods": ["tif"]}, BLOCK | {"name": "y"}, BLOCK | {"name": "z", "methods": []}]
    recipe = make_recipe({"source": blocks, "methods": ["pca", "gff", "pca"]})
    assert [recipe.methods_of(block) for block in recipe.source] == [("tif",), ("gff", "pca"), ()]
    recipe = make_recipe({"source": blocks[1:2]})
    assert recipe.methods_of(recipe.source[0]) == resolve_methods(["fast"])


def test_metrics_are_the_standard_ones_then_those_asked_for_then_those_of_the_criterion() -> None:
    pytest.importorskip("pyiqa")
    recipe = make_recipe({"metrics": ["iqa:psnr", "vif"], "criterion": "qabf - iqa:entropy"})
    assert recipe.metric_names() == (*STANDARD_METRICS, "iqa:psnr", "iqa:entropy")


def test_a_recipe_says_how_winners_are_picked() -> None:
    by_hand = {"street/1": {"method": "gff", "reason": "no halo"}, "street/2": {"method": "published:CNN", "reason": "sharp"}}
    policy = make_recipe({"criterion": "balanced", "allow_copies": True, "winners": by_hand}).policy()
    assert policy.criterion == parse_criterion("balanced") and policy.allow_copies
    assert policy.by_hand == {"street/1": ("gff", "no halo"), "street/2": ("published:CNN", "sharp")}


def test_a_method_may_have_a_time_limit_of_its_own() -> None:
    recipe = make_recipe({"time_limit": 20, "time_limits": {"gff": 60}})
    assert (recipe.limit_of("gff"), recipe.limit_of("tif")) == (60, 20)


def test_a_source_says_the_same_to_the_packages_below() -> None:
    fields = {"name": "s", "task": "medical", "licence": "CC0", "resize": "b", "a_modality": "mri", "b_modality": "ct"}
    recipe = make_recipe(with_source(**fields, published="fused", pattern="IR{key} VIS{key}", range=[7000, 9000]))
    source = recipe.source[0].to_source()
    assert {name: getattr(source, name) for name in fields} == fields
    assert (source.pattern, source.value_range, source.modalities) == ("IR{key} VIS{key}", (7000.0, 9000.0), ("mri", "ct"))
    here = Path.cwd()
    assert (source.a, source.b, source.published) == (here / "ir", here / "vis", here / "fused")


# What is refused, and where it says so.

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown field": ({"methds": ["gff"]}, "methds"),
    "an unknown field of a source": (with_source(folder="x"), "source.0.folder"),
    "a source without b": ({"source": [{"a": "ir"}]}, "source.0.b"),
    "a source that is no table": ({"source": ["ir"]}, "source.0"),
    "a number for a list": ({"methods": 3}, "methods"),
    "a text for a list": ({"metrics": "vif"}, "metrics"),
    "a text for a number": ({"max_shift": "six"}, "max_shift"),
    "a shift below zero": ({"max_shift": -1}, "max_shift"),
    "a share above one": ({"max_failures": 1.5}, "max_failures"),
    "no time at all": ({"time_limit": 0}, "time_limit"),
    "no time for a method": ({"time_limits": {"gff": 0}}, "time_limits.gff"),
    "a task nobody knows": (with_source(task="infrared"), "source.0.task"),
    "a name with a slash": (with_source(name="a/b"), "source.0.name"),
    "a resize policy nobody knows": (with_source(resize="c"), "source.0.resize"),
    "a range nobody knows": (with_source(range="auto"), "source.0.range"),
    "what to keep": ({"keep": "some"}, "keep"),
    "parameters that are no table": ({"parameters": {"gff": 3}}, "parameters.gff"),
    "a winner without a reason": ({"winners": {"p": {"method": "gff"}}}, "winners.p.reason"),
    "a winner with an empty reason": ({"winners": {"p": {"method": "gff", "reason": ""}}}, "winners.p.reason"),
    "a home of nobody": (with_source(a="~nobody-of-that-name/ir"), "source.0.a"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named_with_what_came(case: str) -> None:
    values, where = WRONG[case]
    with pytest.raises(InputError, match=rf"^mine\.toml: {re.escape(where)}\b.*: .*, got "):
        make_recipe(values, "mine.toml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"criterion": "2 ssim"}, "neither a profile"),
        ({"criterion": "ssim**2"}, "cannot stand in a criterion"),
        ({"criterion": ""}, "neither a profile"),
        ({"parameters": {"gff": {"radius": 3}}}, r"^mine: method gff has no parameter 'radius'; it has: base_radius, base_eps"),
        ({"parameters": {"average": {"share": 3}}}, r"^mine: method average has no parameter 'share'; it has: none"),
        ({"source": [BLOCK, BLOCK]}, "several sources need a name each"),
        ({"source": [BLOCK | {"name": "x"}, BLOCK]}, r"several sources need a name each, all different, got \['x', ''\]"),
        ({"source": [BLOCK | {"name": "x"}, BLOCK | {"name": "x"}]}, "several sources need a name each"),
        (with_source(pattern="IR{key}"), "pattern = 'IR{key}' is not understood"),
        (with_source(range=[9, 7]), r"range = \(9.0, 7.0\) is not a value range"),
        (with_source(b="ir"), "a and b are both .*; name two folders"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_recipe(values, "mine")


@pytest.mark.parametrize(
    "values",
    [
        {"methods": ["gfff"]},
        with_source(methods=["gfff"]),
        {"methods": ["none"], "parameters": {"gfff": {}}},
        {"time_limits": {"gfff": 3}},
        {"winners": {"p": {"method": "gfff", "reason": "typed badly"}}},
    ],
)
def test_an_unknown_method_is_named_with_its_neighbours(values: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'gfff'; did you mean .*gff"):
        make_recipe(values)


@pytest.mark.parametrize("values", [{"metrics": ["vif", "qab"]}, {"criterion": "2*ssim + qab"}])
def test_an_unknown_metric_is_named_with_its_neighbours(values: dict[str, Any]) -> None:
    with pytest.raises(UnknownName, match=r"unknown metric 'qab'; did you mean qabf"):
        make_recipe(values)


def test_one_source_needs_no_name_and_several_may_have_their_own() -> None:
    assert make_recipe({"source": [BLOCK]}).source[0].name == ""
    assert [block.name for block in make_recipe({"source": [BLOCK | {"name": "x"}, BLOCK | {"name": "y"}]}).source] == ["x", "y"]


# Files.


def test_folders_are_taken_from_where_the_recipe_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path, '[[source]]\na = "ir"\nb = "../vis"\npublished = "/else/fused"\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    for path in (tmp_path / "recipes" / "mine.toml", Path("../recipes/mine.toml")):
        source = collect_recipe(path).source[0]
        assert source.a.is_absolute() and source.a.resolve() == tmp_path / "recipes" / "ir"
        assert source.b.resolve() == tmp_path / "vis"
        assert source.published == Path("/else/fused")


def test_a_home_is_a_home_in_a_recipe_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    path = write(tmp_path, '[[source]]\na = "~/ir"\nb = "~/vis"\n')
    for recipe in (collect_recipe(path), collect_recipe(a="~/ir", b="~/vis")):
        assert (recipe.source[0].a, recipe.source[0].b) == (tmp_path / "me" / "ir", tmp_path / "me" / "vis")


def test_given_folders_are_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = collect_recipe(a="ir", b="vis", published="fused").source[0]
    assert (source.a, source.b, source.published) == (tmp_path / "ir", tmp_path / "vis", tmp_path / "fused")


def test_a_recipe_is_utf_8_whatever_the_machine_speaks(tmp_path: Path) -> None:
    path = write(tmp_path, '[[source]]\na = "Wärme"\nb = "sichtbar"\nlicence = "© Müller"\n')
    block = collect_recipe(str(path)).source[0]
    assert block.licence == "© Müller" and block.a.name == "Wärme"


@pytest.mark.parametrize("content", ["criterion = ", "criterion = 'a'\ncriterion = 'b'", "\udcff", "= 3", "[[source]"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=rf"^recipe {re.escape(str(path))} cannot be read: "):
        collect_recipe(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match=rf"^recipe {re.escape(str(path))} cannot be read: "):
            read_recipe(path)


@pytest.mark.parametrize("content", ["source = 3", "source = [3]", "[source]\na = 'ir'", "[[source]]\na = 3\nb = 'vis'"])
def test_a_malformed_source_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: source"):
        collect_recipe(path)


# Given values.

FILE = """
criterion = "balanced"
methods = ["gff"]
max_shift = 6
keep = "all"

[[source]]
name = "x"
a = "ir"
b = "vis"
methods = ["pca"]
"""


def test_what_is_given_replaces_what_the_file_says(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    recipe = collect_recipe(path, criterion="qabf", max_shift=0.0, keep=None, metrics=[], pattern="")
    assert (recipe.criterion, recipe.max_shift, recipe.keep, recipe.source[0].name) == ("qabf", 0, "all", "x")
    assert collect_recipe(path).criterion == "balanced"


def test_given_methods_run_on_every_source(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    for given, methods in ((None, ("pca",)), (["tif", "average"], ("average", "tif")), (["none", "gff"], ("gff",))):
        recipe = collect_recipe(path, methods=given)
        assert recipe.methods_of(recipe.source[0]) == methods
    path.write_text(FILE.replace('"pca"', '"none"'))
    assert collect_recipe(path, methods=["tif"]).source[0].methods is None, "what was replaced is no reason to refuse"


@pytest.mark.parametrize("values", [{"methods": ["none"]}, {"methods": []}, with_source(methods=[]), with_source() | {"methods": ["none"]}])
def test_a_recipe_that_asks_for_no_candidate_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"^mine: no method and no published results.*name methods or a set"):
        make_recipe(values, "mine")


def test_no_method_of_its_own_is_enough_where_others_published() -> None:
    recipe = make_recipe(with_source(published="fused") | {"methods": ["none"]})
    assert recipe.methods_of(recipe.source[0]) == ()
    blocks = [BLOCK | {"name": "x", "methods": []}, BLOCK | {"name": "y", "methods": ["gff"]}]
    assert len(make_recipe({"source": blocks}).source) == 2


def test_given_methods_can_be_none_only_with_published_results(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: no method and no published results"):
        collect_recipe(path, methods=["none"])
    assert collect_recipe(path, a="ir", b="vis", published="fused", methods=["none"]).source[0].published is not None


@pytest.mark.parametrize("empty", [[], (), ""])
def test_an_empty_list_of_given_methods_is_no_default(tmp_path: Path, empty: object) -> None:
    for recipe in (None, write(tmp_path, FILE)):
        with pytest.raises(InputError, match=r"methods is empty; name methods or a set .*, or leave it out"):
            collect_recipe(recipe, methods=empty)


def test_given_folders_take_the_place_of_every_source(tmp_path: Path) -> None:
    recipe = collect_recipe(write(tmp_path, FILE), a="mri", b="ct", task="medical", name="heads")
    assert [(block.name, block.a.name, block.task, block.methods) for block in recipe.source] == [("heads", "mri", "medical", None)]
    assert recipe.criterion == "balanced"


@pytest.mark.parametrize(
    ("given", "named"),
    [({"a": "ir"}, "a"), ({"b": "vis"}, "b"), ({"a": "ir", "b": ""}, "a"), ({"published": "x", "task": "medical"}, "published, task")],
)
def test_one_folder_without_the_other_is_refused(tmp_path: Path, given: dict[str, str], named: str) -> None:
    for recipe in (None, write(tmp_path, FILE)):
        with pytest.raises(InputError, match=f"^{named} given without the folders of both modalities; give a and b"):
            collect_recipe(recipe, **given)


def test_a_wrong_given_value_is_named_as_its_option(tmp_path: Path) -> None:
    path = write(tmp_path, FILE.replace("max_shift = 6", "max_failures = 2"))
    for recipe in (None, path):
        with pytest.raises(InputError, match=r"^--task: .*, got 'x-ray'"):
            collect_recipe(recipe, a="ir", b="vis", task="x-ray")
        with pytest.raises(InputError, match=r"^--keep: .*, got 'some'"):
            collect_recipe(recipe, keep="some")
    with pytest.raises(InputError, match=r"^--max-shift: .*, got -1"):
        collect_recipe(max_shift=-1.0)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: max_failures: .*, got 2$"):
        collect_recipe(path, keep="all")
    path.write_text(FILE.replace("[[source]]", '[[source]]\ntask = "x-ray"'))
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: source\.0\.task: .*, got 'x-ray'"):
        collect_recipe(path, keep="all")
    with pytest.raises(FusionPriorError, match="metods"):
        collect_recipe(metods=["gff"])


# The example.

COMMENTED = re.compile(r"^# (?=\[|[a-z_]+ = )", re.MULTILINE)
"""A commented line that is TOML: a table's head or a field."""


def test_the_example_is_a_valid_recipe() -> None:
    recipe = collect_recipe(EXAMPLE)
    assert len(recipe.source) == 1 and recipe.source[0].a == EXAMPLE.parent / "infrared"


def test_the_example_shows_the_defaults() -> None:
    values = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    shown = {name: value for name, value in make_recipe(values).model_dump().items() if name in values and name != "source"}
    assert shown and shown == {name: Recipe().model_dump()[name] for name in shown}
    (block,) = values["source"]
    default = SourceBlock(a=Path("ir"), b=Path("vis"))
    assert {name: block[name] for name in block if name not in ("a", "b", "name")} == {
        name: getattr(default, name) for name in block if name not in ("a", "b", "name")
    }


def test_what_the_example_shows_behind_a_comment_sign_is_valid_too(tmp_path: Path) -> None:
    path = write(tmp_path, COMMENTED.sub("", EXAMPLE.read_text(encoding="utf-8")))
    recipe = collect_recipe(path)
    assert recipe.winners and recipe.parameters and recipe.time_limits and recipe.exclude
    assert recipe.max_shift == 6 and recipe.source[0].published == path.parent / "fused"


def test_the_example_names_every_profile_and_shows_a_condition() -> None:
    lines = [line for line in EXAMPLE.read_text(encoding="utf-8").splitlines() if line.startswith(("criterion", "# Conditions"))]
    shown = [text for line in lines for text in re.findall('"([^"]*)"', line) if not text.startswith("else")]
    assert set(PROFILES) < set(shown) and sum(parse_criterion(text).constrained for text in shown) == 1


@pytest.mark.parametrize("model", [Recipe, SourceBlock], ids=["recipe", "source"])
def test_the_example_names_every_field(model: type[Recipe] | type[SourceBlock]) -> None:
    values = tomllib.loads(COMMENTED.sub("", EXAMPLE.read_text(encoding="utf-8")))
    shown = values if model is Recipe else values["source"][0]
    assert set(shown) == set(model.model_fields)


# Subjects.


def test_a_subject_has_exactly_one_group() -> None:
    assert make_recipe(with_source(subject="^(patient[0-9]+)_")).source[0].subject == "^(patient[0-9]+)_"
    for pattern in ("^patient", "(a)(b)"):
        with pytest.raises(InputError, match=r"source\.0\.subject: .*expected exactly one group"):
            make_recipe(with_source(subject=pattern))


def test_a_subject_that_is_no_expression_is_refused() -> None:
    with pytest.raises(InputError, match=r"source\.0\.subject: .*not a regular expression"):
        make_recipe(with_source(subject="(unfinished"))


def test_a_misspelt_profile_is_told_the_profiles() -> None:
    with pytest.raises(UnknownName, match=r"unknown profile or metric 'blanced'; did you mean balanced\?"):
        make_recipe({"criterion": "blanced"})
    with pytest.raises(UnknownName, match="unknown metric 'nonsens'"):
        make_recipe({"metrics": ["nonsens"]})
