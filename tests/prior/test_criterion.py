"""Criteria: the named profiles by the published numbers, rules by a second evaluation, and all that a rule refuses."""

import csv
import math
import operator
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from prior.criterion import MAX_LENGTH, PROFILES, check_metrics, parse_criterion
from prior.rule import MAX_DEPTH
from storage.errors import InputError, UnknownName

Scores = dict[str, float]

SCORES: Scores = {"ssim": 0.5, "vif": 0.25, "qabf": 2.0, "odd": math.nan, "iqa:fsim": 0.75, "iqa:ms_ssim": 8.0}
CANDIDATE: Scores = {
    **{"ssim": 1.1, "ssim_a": 0.7, "ssim_b": 0.4, "ssim_l2": 0.9},
    **{"vif": 1.3, "vif_a": 0.5, "vif_b": 0.8, "qabf": 0.6},
}


ABSOLUTE = ("diff-if", "diff-if-released", "balanced")
"""The profiles that give a picture alone a value; the others compare candidates."""


def evaluate(rule: str, scores: Scores = SCORES) -> float:
    return parse_criterion(rule).value(scores)


# The named profiles.


def read_published(path: Path) -> list[tuple[Scores, dict[str, str]]]:
    """Every published row: its terms as our metrics, and the row itself."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [(to_scores({name: float(row[name]) for name in COLUMNS}), row) for row in rows]


COLUMNS = ("ssim_a_L2", "ssim_b_L2", "ssim_a", "ssim_b", "vif_a", "vif_b", "qabf")


def to_scores(terms: Scores) -> Scores:
    """The per-source columns with the sums over both sources."""
    sums = {name: terms[f"{name}_a"] + terms[f"{name}_b"] for name in ("ssim", "vif")}
    return terms | sums | {"ssim_l2": terms["ssim_a_L2"] + terms["ssim_b_L2"]}


@pytest.mark.parametrize(
    ("profile", "column"), [("diff-if", "score_intended"), ("diff-if-released", "score_released"), ("balanced", "score_balanced")]
)
def test_profiles_give_the_published_scores(shared: Path, profile: str, column: str) -> None:
    criterion = parse_criterion(profile)
    rows = read_published(shared / "golden" / "published_scores.csv")
    assert len(rows) > 1000
    assert max(abs(criterion.value(scores) - float(row[column])) for scores, row in rows) <= 1e-9


def test_profiles_are_their_formulas() -> None:
    assert evaluate("diff-if", CANDIDATE) == pytest.approx(2 * 1.1 + 1.3 + 3 * 0.6)
    assert evaluate("diff-if-released", CANDIDATE) == pytest.approx(2 * 0.9 + 0.5 + 0.8 + 3 * 0.6)
    assert evaluate("balanced", CANDIDATE) == pytest.approx(4 * 0.4 + 2 * 0.5 + 3 * 0.6)


@pytest.mark.parametrize("source", ["a", "b"])
def test_an_undefined_vif_counts_as_one_in_the_released_profile_only(source: str) -> None:
    scores = CANDIDATE | {f"vif_{source}": math.nan, "vif": math.nan}
    other = scores["vif_b" if source == "a" else "vif_a"]
    assert evaluate("diff-if-released", scores) == pytest.approx(2 * 0.9 + 1 + other + 3 * 0.6)
    assert math.isnan(evaluate("diff-if", scores))
    assert math.isnan(evaluate("balanced", scores))


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_stand_for_their_rules(profile: str) -> None:
    criterion = parse_criterion(profile)
    assert criterion.name == profile and criterion.rule == PROFILES[profile]
    assert list(criterion.metrics) == sorted(set(criterion.metrics))
    assert criterion.relative == (profile not in ABSOLUTE) and not criterion.constrained


@pytest.mark.parametrize("profile", ABSOLUTE)
def test_profiles_need_every_metric_they_read(profile: str) -> None:
    criterion = parse_criterion(profile)
    forgiven = {"vif_a", "vif_b"} if profile == "diff-if-released" else set()
    for name in criterion.metrics:
        assert math.isnan(criterion.value(CANDIDATE | {name: math.nan})) == (name not in forgiven), name
        assert math.isnan(criterion.value({other: CANDIDATE[other] for other in CANDIDATE if other != name})) == (name not in forgiven)


TERMS = st.fixed_dictionaries({name: st.floats(-1, 2) for name in COLUMNS})


@settings(deadline=None, derandomize=True)
@given(terms=TERMS, factor=st.floats(0.01, 100))
@pytest.mark.parametrize("profile", ABSOLUTE)
def test_profiles_scale_with_the_scores(profile: str, terms: Scores, factor: float) -> None:
    scaled = {name: factor * term for name, term in terms.items()}
    assert evaluate(profile, to_scores(scaled)) == pytest.approx(factor * evaluate(profile, to_scores(terms)), abs=1e-9 * (1 + factor))


@settings(deadline=None, derandomize=True)
@given(terms=TERMS, gain=st.floats(0, 1), name=st.sampled_from(COLUMNS))
@pytest.mark.parametrize("profile", ABSOLUTE)
def test_a_better_term_never_lowers_a_profile(profile: str, terms: Scores, gain: float, name: str) -> None:
    better = terms | {name: terms[name] + gain}
    assert evaluate(profile, to_scores(better)) >= evaluate(profile, to_scores(terms)) - 1e-12


@settings(deadline=None, derandomize=True)
@given(terms=TERMS)
@pytest.mark.parametrize("profile", ABSOLUTE)
def test_profiles_do_not_prefer_a_source(profile: str, terms: Scores) -> None:
    other = {"a": "b", "b": "a"}
    swapped = {"_".join(other.get(part, part) for part in name.split("_")): term for name, term in terms.items()}
    assert evaluate(profile, to_scores(swapped)) == pytest.approx(evaluate(profile, to_scores(terms)), abs=1e-12)


# Rules.


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("  ssim ", 0.5),
        ("ssim + vif*qabf", 1.0),
        ("(ssim + vif)*qabf", 1.5),
        ("qabf - ssim - vif", 1.25),
        ("qabf - (ssim - vif)", 1.75),
        ("qabf/ssim/vif", 16),
        ("qabf/(ssim/vif)", 1),
        ("-ssim + qabf", 1.5),
        ("-(ssim + qabf)", -2.5),
        ("--ssim", 0.5),
        ("+ssim", 0.5),
        ("2*-ssim - -vif", -0.75),
        (".5*qabf + 1e1*ssim", 6.0),
        ("min(qabf, ssim, vif)", 0.25),
        ("max(vif, qabf, ssim)", 2),
        ("min(ssim)", 0.5),
        ("otherwise(ssim, 9)", 0.5),
        ("otherwise(odd, 9)", 9),
        ("otherwise(absent, vif)", 0.25),
        ("otherwise(odd/ssim, min(vif, 3))", 0.25),
        ("iqa:fsim", 0.75),
        ("2*iqa:ms_ssim-iqa:fsim/ssim", 14.5),
        ("min(iqa:fsim,ssim)", 0.5),
    ],
)
def test_rules(rule: str, value: float) -> None:
    assert evaluate(rule) == pytest.approx(value, abs=1e-12)


UNDEFINED = ["odd", "absent", "-odd", "0*odd", "min(ssim, odd)", "min(odd, ssim)", "max(ssim, odd)", "otherwise(odd, odd)", "iqa:absent"]
DIVIDED_BY_ZERO = ["ssim/0", "ssim/(vif - vif)", "0/0*ssim", "-ssim/0.0", "ssim - 1/0"]


@pytest.mark.parametrize("rule", UNDEFINED + DIVIDED_BY_ZERO)
def test_what_is_undefined_stays_undefined(rule: str) -> None:
    assert math.isnan(evaluate(rule))


def test_a_rule_names_the_metrics_it_reads_once_and_in_order() -> None:
    criterion = parse_criterion("vif*2 + min(iqa:fsim, ssim) - vif + otherwise(qabf, ssim)")
    assert criterion.metrics == ("iqa:fsim", "qabf", "ssim", "vif")
    assert criterion.name == criterion.rule == "vif*2 + min(iqa:fsim, ssim) - vif + otherwise(qabf, ssim)"


def test_a_criterion_survives_pickling() -> None:
    criterion = parse_criterion("min(ssim, vif) - iqa:fsim")
    copy = pickle.loads(pickle.dumps(criterion))
    assert copy == criterion and copy.value(SCORES) == criterion.value(SCORES)


# All that a rule refuses.

FOREIGN = [
    *("abs(ssim)", "ssim()", "ssim(1)", "(ssim)(vif)", "print(ssim)", "eval('1')", "__import__('os')", "__import__('os').system('true')"),
    *("ssim.real", "a.b", "iqa.fsim.real", "min.__globals__", "().__class__", "ssim.__class__.__mro__", "iqa:a:b", "ssim:vif", "1:5*vif"),
    *("ssim[0]", "ssim[1:2]", "[ssim]", "(ssim, vif)", "{ssim}", "{'a': ssim}", "[x for x in ssim]", "(x for x in ssim)"),
    *("lambda: ssim", "lambda x: x", "(lambda: ssim)()", "ssim if vif else qabf", "(x := ssim)", "await ssim", "(yield)", "*ssim"),
    *("ssim < vif", "ssim == vif", "ssim and vif", "not ssim", "ssim or vif", "ssim in vif", "ssim is vif"),
    *("'ssim'", "ssim + 'x'", "b'x'*ssim", "f'{ssim}'", "'%s' % ssim", "True*ssim", "ssim + False", "None", "...", "2j*ssim"),
    *("ssim**2", "ssim // vif", "ssim % vif", "ssim @ vif", "ssim << 2", "ssim | vif", "ssim & vif", "ssim ^ vif", "~ssim"),
    *("1e12*ssim", "1e400*ssim", f"{'9' * 400}*ssim", "ssim + 1000000000000", "9**9**9*ssim"),
    *("min()", "max()", "min(*ssim)", "min(ssim, key=vif)", "min(**ssim)", f"min({', '.join(['ssim'] * 20)})"),
    *("otherwise(ssim)", "otherwise(ssim, 1, 2)", "otherwise()", "ssim.min(vif)", "min.max(ssim)"),
    *("rank()", "z()", "rank(ssim, vif)", "z(*ssim)", "rank(x=ssim)", "rank(ssim > vif)", "z(ssim where vif > 1)", "ssim.rank(vif)"),
    *("", " ", "()", "2 ssim", "ssim vif", "ssim +", "* ssim", "2*", ")", "(ssim", "ssim; vif", "ssim = 1", "import os", "ssim\nvif"),
    *("ssim\0", "\ud800", "\u2028", "ssim!", "$ssim", "ssim?", "`ssim`", "diff if", "diff-if rule"),
    *("f'''{\"\"\"\n\"\"\"}''' + ssim", "f'''{\"\"\"\n\"\"\"}''' > ssim"),
]


@pytest.mark.parametrize("rule", FOREIGN)
def test_everything_else_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match="criterion"):
        parse_criterion(rule)


@pytest.mark.parametrize("rule", ["2", "1 + 2", "min(1, 2)", "-3", "otherwise(1, 2)"])
def test_a_rule_that_reads_no_metric_is_refused(rule: str) -> None:
    with pytest.raises(InputError, match="reads no metric"):
        parse_criterion(rule)


def test_a_refusal_names_the_piece_and_what_is_allowed() -> None:
    with pytest.raises(InputError, match=r"'ssim \*\* 2' cannot stand in a criterion; use metric names, numbers, .* otherwise\(\)"):
        parse_criterion("vif + 3*min(qabf, ssim**2)")
    with pytest.raises(InputError, match=r"neither a profile \(diff-if, diff-if-released, balanced, rank-sum, z-score\) nor a rule"):
        parse_criterion("2 ssim")


HELD = ("iqa:fsim", "qabf", "ssim", "vif")
UNHELD = {
    "blanced": "unknown profile or metric in this snapshot 'blanced'; did you mean balanced?",
    "blanced where qabf > 0.4": "unknown profile or metric in this snapshot 'blanced'; did you mean balanced?",
    "rank-sun": "unknown profile or metric in this snapshot 'rank-sun'; did you mean rank-sum?",
    "qbf": "unknown profile or metric in this snapshot 'qbf'; did you mean qabf?",
    "ssim-vfi": "unknown metric in this snapshot 'vfi'; did you mean vif?",
    "rank-sum where vfi > 1": "unknown metric in this snapshot 'vfi'; did you mean vif?",
    "balanced": "unknown metric in this snapshot 'ssim_a'; did you mean ssim?",
    "ssim + absent": "unknown metric in this snapshot 'absent'; known: iqa:fsim, qabf, ssim, vif",
}


@pytest.mark.parametrize("text", UNHELD)
def test_a_metric_that_is_not_held_is_told_and_a_profile_that_may_be_meant(text: str) -> None:
    with pytest.raises(UnknownName) as caught:
        check_metrics(parse_criterion(text), HELD)
    assert str(caught.value) == UNHELD[text]


@pytest.mark.parametrize("text", ["rank-sum", "z-score where qabf > 0.4", "iqa:fsim - 1"])
def test_metrics_that_are_held_are_let_through(text: str) -> None:
    criterion = parse_criterion(text)
    assert set(criterion.metrics) <= set(HELD)
    check_metrics(criterion, HELD)


CHAINS = {
    "signs": "-" * 900 + "ssim",
    "foreign signs": "~" * 900 + "ssim",
    "a text below signs": "-" * 900 + "'x'",
    "nots": "not " * 240 + "ssim",
    "terms": "+".join(["v"] * 450),
    "lists": "[" * 150 + "]" * 150,
    "calls": "min(" * 150 + "ssim" + ")" * 150,
    "attributes": "ssim" + ".a" * 450,
    "powers": "**".join(["2"] * 300),
    "parentheses": "(" * 500 + "ssim" + ")" * 500,
    "open parentheses": "(" * 900,
}


@pytest.mark.parametrize("chain", CHAINS)
def test_deep_rules_are_refused(chain: str) -> None:
    with pytest.raises(InputError):
        parse_criterion(CHAINS[chain])


def test_long_rules_are_refused_and_shorter_ones_read() -> None:
    longest = "ssim" + " " * (MAX_LENGTH - 9) + "+ vif"
    assert len(longest) == MAX_LENGTH and evaluate(longest) == 0.75
    for rule in (longest.replace("+", " +"), "ssim + " * 285 + "vif"):
        with pytest.raises(InputError, match=f"{len(rule)} characters long; at most {MAX_LENGTH}"):
            parse_criterion(rule)


def test_rules_may_be_as_deep_as_anybody_writes_them() -> None:
    assert evaluate("(" * 50 + "ssim" + ")" * 50) == 0.5
    assert evaluate("+".join(["ssim"] * (MAX_DEPTH - 1))) == 0.5 * (MAX_DEPTH - 1)
    with pytest.raises(InputError, match=f"more than {MAX_DEPTH}"):
        parse_criterion("+".join(["ssim"] * (MAX_DEPTH + 1)))


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('pathlib').Path('canary').touch()",
        "[open('canary', 'w'), ssim]",
        "min(ssim, open('canary', 'w'))",
        "(lambda: open('canary', 'w'))() + ssim",
        "f\"{open('canary', 'w')}\"",
        "otherwise(ssim, exec(\"open('canary', 'w')\"))",
    ],
)
def test_nothing_is_ever_executed(rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        parse_criterion(rule)
    assert not (tmp_path / "canary").exists()


# Random rules.


@dataclass(frozen=True)
class Drawn:
    """A random rule: its text, how tightly its last operation binds, its value found beside the parser, the metrics in it."""

    text: str
    binds: int
    value: float
    metrics: frozenset[str] = frozenset()


SUM, PRODUCT, SIGN, ATOM = range(4)
OPERATIONS: dict[str, tuple[int, Callable[[float, float], float]]] = {
    "+": (SUM, operator.add),
    "-": (SUM, operator.sub),
    "*": (PRODUCT, operator.mul),
    "/": (PRODUCT, lambda x, y: x / y if y else math.nan),
}


def draw_number(number: float) -> Drawn:
    return Drawn(repr(number), ATOM, number)


def draw_metric(name: str) -> Drawn:
    return Drawn(name, ATOM, SCORES[name], frozenset({name}))


def draw_operation(sign: str, x: Drawn, y: Drawn) -> Drawn:
    binds, compute = OPERATIONS[sign]
    return Drawn(f"{enclose(x, binds)} {sign} {enclose(y, binds + 1)}", binds, compute(x.value, y.value), x.metrics | y.metrics)


def draw_negation(x: Drawn) -> Drawn:
    return Drawn(f"-{enclose(x, SIGN)}", SIGN, -x.value, x.metrics)


def draw_extreme(name: str, values: list[Drawn]) -> Drawn:
    numbers = [one.value for one in values]
    value = math.nan if any(number != number for number in numbers) else sorted(numbers)[0 if name == "min" else -1]
    return Drawn(f"{name}({', '.join(one.text for one in values)})", ATOM, value, frozenset().union(*(one.metrics for one in values)))


def draw_default(x: Drawn, y: Drawn) -> Drawn:
    return Drawn(f"otherwise({x.text}, {y.text})", ATOM, y.value if x.value != x.value else x.value, x.metrics | y.metrics)


def enclose(rule: Drawn, least: int) -> str:
    """A rule's text, in parentheses only where they are needed."""
    return rule.text if rule.binds >= least else f"({rule.text})"


def extend(rules: st.SearchStrategy[Drawn]) -> st.SearchStrategy[Drawn]:
    return st.one_of(
        st.builds(draw_operation, st.sampled_from(list(OPERATIONS)), rules, rules),
        st.builds(draw_negation, rules),
        st.builds(draw_extreme, st.sampled_from(["min", "max"]), st.lists(rules, min_size=1, max_size=3)),
        st.builds(draw_default, rules, rules),
    )


NUMBERS = st.one_of(st.integers(0, 1000).map(float), st.floats(0, 1e6))
RULES = st.recursive(st.one_of(NUMBERS.map(draw_number), st.sampled_from(list(SCORES)).map(draw_metric)), extend, max_leaves=25)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rule=RULES)
def test_random_rules_have_the_value_of_a_second_evaluation(rule: Drawn) -> None:
    assume(rule.metrics and len(rule.text) <= MAX_LENGTH)
    criterion = parse_criterion(rule.text)
    assert criterion.metrics == tuple(sorted(rule.metrics))
    value = criterion.value(SCORES)
    assert value == rule.value or (math.isnan(value) and math.isnan(rule.value)), rule.text


@settings(deadline=None, derandomize=True)
@given(rule=RULES, power=st.integers(-8, 8))
def test_a_factor_before_a_rule_multiplies_its_value(rule: Drawn, power: int) -> None:
    assume(rule.metrics and len(rule.text) <= MAX_LENGTH // 2 and abs(rule.value) < 1e200)
    value, factor = evaluate(rule.text), 2.0**power
    assert evaluate(f"{factor}*({rule.text})") == factor * value
    assert evaluate(f"-({rule.text})") == -value
    assert evaluate(f"({rule.text}) - ({rule.text})") == 0
