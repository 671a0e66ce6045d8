"""The command `metrics`, the passports as people and machines read them, and the page that is written from them."""

import csv
import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from flows import passports
from flows.metric_commands import EVERY_COLUMN, metrics
from flows.metric_page import write_page
from flows.options import Format
from flows.output import print_rows
from flows.passports import compare, list_golden, to_json, to_sheet, write_bounds
from prior import registry
from prior.golden import CASES
from prior.registry import Metric, find_metric
from prior.statistics import Fused
from prior.variants import VARIANTS
from storage.errors import InputError, UnknownName

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "metrics.md"


def ask(capsys: pytest.CaptureFixture[str], **asked: Any) -> str:
    metrics(**({"name": None, "everything": False, "check": False, "variants": False, "form": Format.table} | asked))
    return capsys.readouterr().out


def make_bare() -> Metric:
    """A metric of a plug-in, without a passport."""
    return Metric("bare", judge_nothing, "zero", (0, math.inf), 1, "Nobody 2000", "0", ("luck",), "MIT")


def judge_nothing(fused: Fused) -> float:
    return math.nan


def test_the_list_folds_terms_and_variants_away(capsys: pytest.CaptureFixture[str]) -> None:
    short, long = ask(capsys), ask(capsys, everything=True)
    assert "│ ssim " in short and "│ ssim_a " not in short and "│ ssim_l2 " not in short
    assert all(f"│ {name} " in long for name in registry.metrics())


@pytest.mark.parametrize("form", [Format.csv, Format.json])
def test_machines_are_told_every_metric(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    text = ask(capsys, form=form)
    rows = json.loads(text) if form is Format.json else list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in rows] == list(registry.metrics()) and tuple(rows[0]) == EVERY_COLUMN
    vif = next(row for row in rows if row["name"] == "vif")
    assert vif["combination"] == "sum" and vif["bounds"] in ([0, None], "0 inf")


def test_a_passport_is_a_sheet_with_golden_values_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    text, passport = ask(capsys, name="mi"), find_metric("mi").passport
    assert passport is not None
    for word in (
        find_metric("mi").definition,
        passport.meaning,
        passport.undefined,
        *CASES,
        passport.differences[0].how,
        "higher is better",
    ):
        assert word in text
    assert f"{list_golden(find_metric('mi'))[CASES[0]]:.12g}" in text


def test_a_passport_as_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(ask(capsys, name="vif", form=Format.json))
    assert found["bounds"] == [0, None] and found["passport"]["smallest"] == 41 and set(found["golden_values"]) == set(CASES)
    rows = dict(csv.reader(io.StringIO(ask(capsys, name="vif", form=Format.csv))))
    assert rows["smallest side"] == "41 px" and rows["bounds"] == "0 … ∞"


def test_a_metric_without_a_passport_says_so() -> None:
    sheet = to_sheet(make_bare())
    assert sheet["passport"].startswith("none") and sheet["needs"] == "luck" and sheet["bounds"] == "0 … ∞"
    assert to_json(make_bare())["passport"] is None and list(compare(make_bare())) == []
    assert write_bounds((-math.inf, 0.5)) == "-∞ … 0.5"


def test_what_stands_in_brackets_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"[head]": "[[1, c(A,B)], [bold]x[/]] :smile:"}], ["[head]"], "table")
    out = capsys.readouterr().out
    assert "[[1, c(A,B)], [bold]x[/]] :smile:" in out and "[head]" in out


@pytest.mark.parametrize(
    ("symbol", "term"),
    [
        ("MI", "MI$_{A}$"),
        ("$Q_{MI}$", "$Q_{MI,A}$"),
        ("SSIM$_G$", "SSIM$_{G,A}$"),
        ("$Q^{AB/F}$", "$Q^{AB/F}_{A}$"),
        (r"$N^{AB/F}_{\mathrm{swapped}}$", r"$N^{AB/F}_{\mathrm{swapped},A}$"),
        (r"$Q_{TE}$ (swapped)", r"$Q_{TE}$ (swapped)$_{A}$"),
    ],
)
def test_a_term_has_a_symbol_of_its_own_and_no_differences(symbol: str, term: str) -> None:
    passport = find_metric("mi").passport
    assert passport is not None and passport.differences
    narrowed = replace(passport, symbol=symbol).narrow("a", "MI_A")
    assert narrowed.symbol == term and narrowed.differences == () and narrowed.golden == "MI_A"
    assert narrowed.meaning == f"{passport.meaning} Of source A alone."


def test_a_term_moves_with_noise_as_its_whole_does_unless_it_says_otherwise() -> None:
    for name, noise in (("mi", "falls"), ("mse", "rises"), ("cc", "varies")):
        sheet = to_sheet(find_metric(f"{name}_a"))
        assert (sheet["with noise"], sheet["with blur"]) == (noise, "varies")
    assert to_sheet(find_metric("cc"))["with noise"] == "falls"


def test_an_unknown_metric_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match="did you mean ssim"):
        ask(capsys, name="sim")


@pytest.mark.parametrize("name", ["mi", "vif_b"])
def test_a_check_compares_with_every_golden_value(capsys: pytest.CaptureFixture[str], name: str) -> None:
    rows = json.loads(ask(capsys, name=name, check=True, form=Format.json))
    assert [row["case"] for row in rows] == list(list_golden(find_metric(name)))
    assert {row["outcome"] for row in rows} <= {"equal", "undefined in both"}


def test_a_check_counts_apart_what_it_compares(capsys: pytest.CaptureFixture[str]) -> None:
    metrics(name="ms_ssim", check=True, everything=False, variants=False, form=Format.csv)
    said = capsys.readouterr().err
    assert "compared: 1 of 1 values" in said and "undefined on both sides: 5" in said and "not asserted: 0" in said
    metrics(name="q_c", check=True, form=Format.csv)
    said = capsys.readouterr().err
    assert "compared: 4 of 4 values" in said and "not asserted: 2" in said
    assert "q_c on c09_constant, q_c on c13_saturated_max: rounding noise" in said


def test_a_check_of_all_tells_what_has_no_golden_values(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: find_metric(name) for name in ("en", "mi", "mi_a", "sf_unit")}
    monkeypatch.setattr(registry, "metrics", lambda: chosen)
    metrics(check=True, form=Format.csv)
    said = capsys.readouterr().err
    assert "without golden values: 1 terms" in said and "sf_unit" in said and "iqa:<model>" in said


def test_a_check_without_a_number_to_compare_with_ends_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passports, "list_golden", lambda metric: {CASES[0]: math.nan, "c09_constant": 1.0})
    monkeypatch.setattr(registry, "find_metric", lambda name: replace(find_metric("q_c"), judge=judge_nothing))
    with pytest.raises(typer.Exit) as stopped:
        metrics(name="q_c", check=True, form=Format.csv)
    assert stopped.value.exit_code == 1 and "no number to compare with: q_c" in capsys.readouterr().err


def test_a_check_that_fails_ends_with_exit_code_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = replace(find_metric("mi"), judge=judge_nothing)
    monkeypatch.setattr(registry, "find_metric", lambda name: wrong)
    with pytest.raises(typer.Exit) as stopped:
        ask(capsys, name="mi", check=True, form=Format.csv)
    said = capsys.readouterr()
    assert stopped.value.exit_code == 1 and said.out.count("differs") == 6 and "0 of 6 values" in said.err


def test_a_check_of_what_has_no_golden_values_is_refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_metric", lambda name: make_bare())
    with pytest.raises(InputError, match="bare has no golden values"):
        ask(capsys, name="bare", check=True)


@pytest.mark.parametrize(("name", "why"), [("mi_a", "of the whole it is part of"), ("iqa:fsim", "a model of pyiqa")])
def test_a_check_of_what_is_compared_elsewhere_says_where(capsys: pytest.CaptureFixture[str], name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        ask(capsys, name=name, check=True)


@pytest.mark.parametrize(
    ("value", "golden", "outcome"),
    [
        (1.0, 1.0, "equal"),
        (1.1, 1.0, "differs"),
        (math.nan, 1.0, "differs"),
        (math.nan, math.nan, "undefined in both"),
        (1.0, math.nan, "differs"),
        (math.inf, math.inf, "equal"),
        (math.nan, math.inf, "differs"),
        (-math.inf, math.inf, "differs"),
    ],
)
def test_undefined_fits_undefined_alone(monkeypatch: pytest.MonkeyPatch, value: float, golden: float, outcome: str) -> None:
    monkeypatch.setattr(passports, "list_golden", lambda metric: {CASES[0]: golden})
    assert [one.outcome for one in compare(replace(find_metric("mi"), judge=lambda fused: value))] == [outcome]


@pytest.mark.parametrize(
    ("value", "golden", "fits"),
    [(1000.0005, 1000.0, True), (1000.005, 1000.0, False), (0.1000005, 0.1, False), (1.00002e-7, 1e-7, False), (1e-12, 0.0, True)],
)
def test_a_comparison_is_relative_however_small_the_value(monkeypatch: pytest.MonkeyPatch, value: float, golden: float, fits: bool) -> None:
    monkeypatch.setattr(passports, "list_golden", lambda metric: {CASES[0]: golden})
    (one,) = compare(replace(find_metric("mi"), judge=lambda fused: value))
    assert one.tolerance == 1e-6 and one.outcome == ("equal" if fits else "differs")


def test_variants_are_listed_with_what_they_print(capsys: pytest.CaptureFixture[str]) -> None:
    text = ask(capsys, variants=True)
    assert all(name in text for name in VARIANTS) and "VIFF" in text and find_metric("mi_ln").definition not in text
    assert re.search(r"│ tang-matlab +│ nabf_swapped +│ Nabf +│ nabf_swapped +│", text)
    listed = json.loads(ask(capsys, variants=True, form=Format.json))
    assert {one["name"]: len(one["metrics"]) for one in listed} == {one.name: len(one.metrics) for one in VARIANTS.values()}
    diff_if = next(one for one in listed if one["name"] == "diff-if")["metrics"]
    mi = {"metric": "mi", "printed as": "MI", "definition": "mi_ln", "formula": find_metric("mi_ln").definition}
    assert mi in diff_if
    assert {"variant": "diff-if"} | mi in list(csv.DictReader(io.StringIO(ask(capsys, variants=True, form=Format.csv))))
    with pytest.raises(InputError, match="takes no metric"):
        ask(capsys, variants=True, name="mi")


# --- the page ---------------------------------------------------------------------------------------------------------------------------


def test_the_page_is_what_the_passports_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == write_page(), "write it again: make docs"


def test_the_page_names_every_metric_and_every_variant() -> None:
    page = write_page()
    assert all(f"`{name}`" in page for name in registry.metrics() if not find_metric(name).variant_of or not find_metric(name).term_of)
    assert all(f"### {name}" in page for name in VARIANTS)
    mains = [one for one in registry.metrics().values() if not (one.term_of or one.variant_of)]
    assert all(page.count(f"\n## {one.name}\n") == 1 for one in mains)


def test_the_page_has_the_golden_values_and_says_which_are_not_asserted() -> None:
    page = write_page()
    value = list_golden(find_metric("ms_ssim"))["c16_drawn"]
    assert f"- golden values: c07 nan, c08 nan, c09 nan, c11 nan, c13 nan, c16 {value:.12g}\n" in page
    assert "- golden values not asserted: c09, c13, c15: rounding noise over 2e-16" in page
    assert f"c16 {list_golden(find_metric('vif_a'))['c16_drawn']:.12g} |" in page


def test_a_tolerance_is_told_only_of_what_has_golden_values() -> None:
    assert to_sheet(find_metric("nabf"))["tolerance"].startswith("1e-06 of the golden value; 1.4e-11 where")
    for name in ("iqa:fsim", "mi_a"):
        assert "tolerance" not in to_sheet(find_metric(name))
        assert to_json(find_metric(name))["passport"]["tolerance"] is None
