"""The command `methods` as people and machines read it, and tables on terminals of any width."""

import csv
import io
import json
from functools import partial
from typing import Any

import pytest

from flows import output
from flows.method_commands import EVERY_COLUMN, describe, methods, shorten_authors, split_reference, to_sheet
from flows.options import Format
from flows.output import FRAME, fit_columns, print_rows
from prior import registry
from prior.registry import Method, find_method
from storage.errors import InputError, UnknownName


@pytest.fixture(params=[60, 80, 100, 120, 200])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A terminal of so many columns."""
    monkeypatch.setattr(output, "find_width", lambda: request.param)
    return int(request.param)


def read_table(text: str) -> list[list[str]]:
    """The cells of a table's lines, the head included."""
    return [[cell.strip() for cell in line.strip("│┃").split(line[0])] for line in text.splitlines() if line[:1] in "│┃"]


# The list.


def test_every_name_stands_whole_on_any_terminal(width: int, capsys: pytest.CaptureFixture[str]) -> None:
    methods()
    said = capsys.readouterr()
    assert max(map(len, said.out.splitlines())) <= width
    head, *rows = read_table(said.out)
    assert [row[0] for row in rows if row[0]] == list(registry.methods())
    assert len(rows) <= 2 * len(registry.methods()), "compact"
    if width >= 80:
        assert head[:5] == ["name", "family", "cost", "tasks", "reconstructed"]
    assert ("reference" in head) == (width >= 100) and ("doi" in head) == (width == 200)
    assert all(name in head or name in said.err for name in ("reference", "doi"))


def test_a_pipe_gets_every_column_in_lines_of_a_bearable_width(capsys: pytest.CaptureFixture[str]) -> None:
    methods()
    said = capsys.readouterr()
    head, *rows = read_table(said.out)
    assert head == ["name", "family", "cost", "tasks", "reconstructed", "reference", "doi", "sets"] and said.err == ""
    assert len(rows) == len(registry.methods()) and max(map(len, said.out.splitlines())) <= 180
    gff = next(row for row in rows if row[0] == "gff")
    assert gff == ["gff", "guided filter", "light", "all", "no", "Li et al. 2013", "10.1109/TIP.2013.2244222", "fast"]


@pytest.mark.parametrize("form", [Format.csv, Format.json])
def test_machines_are_told_authors_and_doi_apart(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    methods(form=form)
    text = capsys.readouterr().out
    rows = json.loads(text) if form is Format.json else list(csv.DictReader(io.StringIO(text)))
    assert tuple(rows[0]) == EVERY_COLUMN and [row["name"] for row in rows] == list(registry.methods())
    assert all(row["doi"].startswith("10.") and "doi" not in row["reference"] for row in rows)


@pytest.mark.parametrize(
    ("reference", "parts", "short"),
    [
        ("Toet 1989, doi 10.1016/x(89)9-2", ("Toet 1989", "10.1016/x(89)9-2"), "Toet 1989"),
        ("Liu, Liu, Wang 2015, doi 10.1/x", ("Liu, Liu, Wang 2015", "10.1/x"), "Liu et al. 2015"),
        ("Burt, Adelson 1983, doi 10.1/x", ("Burt, Adelson 1983", "10.1/x"), "Burt, Adelson 1983"),
        ("Jose et al. 2021, doi 10.1/x", ("Jose et al. 2021", "10.1/x"), "Jose et al. 2021"),
        ("Zhao, Bai, Zhu et al. 2023", ("Zhao, Bai, Zhu et al. 2023", ""), "Zhao et al. 2023"),
        ("a note of ours", ("a note of ours", ""), "a note of ours"),
    ],
)
def test_a_reference_is_authors_with_the_year_and_a_doi(reference: str, parts: tuple[str, str], short: str) -> None:
    assert split_reference(reference) == parts and shorten_authors(parts[0]) == short


# One method.


def test_a_method_is_a_sheet_with_all_that_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    methods("csr")
    sheet = capsys.readouterr().out
    for text in ("Liu, Chen, Ward, Wang 2016", "10.1109/LSP.2016.2618776", "the filters, learned from other photographs", "under 20 s"):
        assert text in sheet
    assert "infrared-visible, medical" in sheet and "standard" in sheet
    assert all(f"{name} = {value!r}" in sheet for name, value in find_method("csr").parameters.items())


def test_a_method_as_json_and_csv(capsys: pytest.CaptureFixture[str]) -> None:
    methods("gff", form=Format.json)
    found = json.loads(capsys.readouterr().out)
    assert tuple(found) == EVERY_COLUMN and found["sets"] == ["fast"] and found["parameters"]["base_radius"] == 45
    methods("gff", form=Format.csv)
    rows = dict(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows["name"] == "gff" and rows["doi"] == found["doi"] and rows["reconstructed"] == "nothing"


def test_a_method_made_on_demand_has_a_sheet_too() -> None:
    fuse = partial(find_method("average").fuse)
    bare = Method("student:x", fuse, "diffusion", "", "hash", (), ("weights",), "", False)
    assert to_sheet(bare)["needs"] == "weights" and "what it does" not in to_sheet(bare) and describe(bare)["doi"] == ""


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"name": "gfff"}, UnknownName, "did you mean gff"),
        ({"name": "medical"}, UnknownName, "'medical' is a set of .* methods, and one method is expected here; name one of them: average"),
        ({"name": "none"}, UnknownName, "'none' is a set of no methods"),
        ({"name": "gff", "contribution": "store"}, InputError, "takes no method; leave 'gff' out"),
        ({"snapshot": "v1"}, InputError, "give the store, too: --contribution STORE"),
        ({"name": "gff", "snapshot": "v1"}, InputError, "give the store, too: --contribution STORE"),
    ],
)
def test_what_makes_no_sense_is_refused(asked: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        methods(**asked)


def test_every_set_is_known_for_one() -> None:
    for name in {one for method in registry.methods().values() for one in method.member_of}:
        with pytest.raises(UnknownName, match=f"'{name}' is a set of"):
            find_method(name)


# Tables.

CELLS = {
    "pair_id": ["RoadScene/FLIR_00927", "p1"],
    "status": ["quarantined", "ok"],
    "reason": ["", ""],
    "message": ["it cannot be decoded, and this is told at length; replace the file", ""],
    "shift": ["19.8101", ""],
    "path": ["/somewhere/" + 9 * "very/" + "deep.png", ""],
}


@pytest.mark.parametrize("room", range(24, 200, 4))
def test_a_table_fits_and_breaks_no_word(room: int) -> None:
    widths = fit_columns(CELLS, room, keep=("message",))
    assert sum(width + FRAME for width in widths.values()) + 1 <= room
    assert list(widths) == [name for name in CELLS if name in widths] and next(iter(widths)) == "pair_id"
    for name, width in widths.items():
        words = [word for text in (name, *CELLS[name]) for word in text.split()]
        assert width >= min(max(map(len, words)), 40)


def test_columns_leave_the_empty_ones_first_then_from_the_right_then_those_to_keep() -> None:
    seen = [tuple(fit_columns(CELLS, room, keep=("message",))) for room in range(200, 20, -1)]
    assert list(dict.fromkeys(seen)) == [
        tuple(CELLS),
        ("pair_id", "status", "message", "shift", "path"),
        ("pair_id", "status", "message", "shift"),
        ("pair_id", "status", "message"),
        ("pair_id", "message"),
        ("pair_id",),
    ]


def test_where_there_is_room_every_text_is_whole() -> None:
    assert fit_columns(CELLS, 400) == {name: max(map(len, (name, *texts))) for name, texts in CELLS.items()}
    assert fit_columns({"id": [], "names": []}, 80) == {"id": 2, "names": 5}
    assert fit_columns({"path": ["x" * 300], "size": ["3"]}, 80) == {"path": 76}


def test_what_is_left_out_is_told_on_a_terminal_alone(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [dict(zip(CELLS, texts, strict=True)) for texts in zip(*CELLS.values(), strict=True)]
    print_rows(rows, list(CELLS), "table")
    whole = capsys.readouterr()
    assert whole.err == "" and all(text in whole.out for texts in CELLS.values() for text in texts)
    monkeypatch.setattr(output, "find_width", lambda: 60)
    print_rows(rows, list(CELLS), "table", keep=("message",))
    narrow = capsys.readouterr()
    assert max(map(len, narrow.out.splitlines())) <= 60 and "RoadScene/FLIR_00927" in narrow.out
    assert narrow.err == "left out, since the terminal is too narrow (a wider one, or --format json, has all): path\n"
