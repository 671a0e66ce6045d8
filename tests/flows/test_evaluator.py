"""Folders of fused pictures: every one scored or told, the same from any number of processes, and written for people and machines."""

import csv
import io
import itertools
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from PIL import Image

from flows.columns import Column, choose_columns
from flows.command_line import score
from flows.evaluate_command import describe, evaluate
from flows.evaluation import CONVERTED, METRIC_FAILED, Evaluation, EvaluationRequest, _score_file, evaluate_folders
from flows.evaluation_files import parse_targets, write_evaluation
from flows.evaluation_table import RANK, ROW_FIELDS, SHORTENED, Entry, Table, lay_out, make_table, to_cells, to_json
from flows.latex import escape_latex, to_latex
from flows.options import Format
from flows.output import measure_cells
from flows.single import fuse_files, score_files
from flows.standings import find_standings
from prior import golden
from prior.evaluate import STANDARD_METRICS, prepare
from prior.golden import list_values
from prior.pictures import read_picture, write_png
from prior.published import PublishedFile
from prior.registry import find_method, find_metric
from prior.statistics import Fused
from storage.errors import FusionPriorError, InputError
from storage.schema import FAILED, OK, ScoreRow

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
GOLDEN = Path(golden.__file__).parent
COLUMNS = choose_columns(["ssim", "ssim_a", "ssim_b", "mi", "scd"])

PLUG_IN = "Metadata-Version: 2.1\nName: troublesome\nVersion: 1\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pairs, and three methods: one whole, one with every kind of failure, one with other names."""
    root = tmp_path_factory.mktemp("folders")
    write_pairs(root, 4)
    (root / "fused" / "Mean" / "Thumbs.db").write_bytes(b"no picture")
    bad = root / "fused" / "Knowledge_Bad=x"
    mean = {key: read_picture(root / "fused" / "Mean" / f"{key}.png").pixels for key in ("p00", "p01", "p02", "p03")}
    write_png(bad / "p01.png", mean["p01"][:-1])
    (bad / "p02.png").write_bytes(b"no picture either")
    write_png(bad / "p03.png", mean["p02"])
    write_png(root / "fused" / "Stranger" / "one.png", mean["p00"])
    write_png(root / "fused" / "beside.png", mean["p00"])
    write_png(root / "ir" / "alone.png", mean["p00"])
    return root


def write_pairs(root: Path, count: int) -> None:
    """Pairs and, as `fused/Mean`, their means."""
    rng = np.random.default_rng(3)
    for number in range(count):
        noise = np.kron(rng.integers(0, 256, (2, 8, 9)), np.ones((7, 7))) + rng.integers(0, 9, (2, 56, 63))
        a, b = np.clip(noise, 0, 255).astype(np.uint8)
        pictures = {"ir": a, "vis": np.stack([b, b, b // 2], axis=-1), "fused/Mean": (a // 2 + b // 2)}
        for folder, picture in pictures.items():
            write_png(root / folder / f"p{number:02d}.png", picture)


def ask(root: Path, workers: int = 1, columns: tuple[Column, ...] = COLUMNS, fused: str = "fused") -> EvaluationRequest:
    return EvaluationRequest(a=root / "ir", b=root / "vis", fused=root / fused, columns=columns, workers=workers)


@pytest.fixture(scope="module")
def evaluation(folders: Path) -> Evaluation:
    return evaluate_folders(ask(folders))


# --- rows -------------------------------------------------------------------------------------------------------------------------------


def test_every_pair_has_a_row_for_every_method_with_its_reason(evaluation: Evaluation) -> None:
    assert [(row.pair_id, row.method) for row in evaluation.rows] == list(
        itertools.product(("p00", "p01", "p02", "p03"), ("Bad=x", "Mean", "Stranger"))
    )
    reasons = {row.pair_id: (row.status, row.reason) for row in evaluation.rows if row.method == "Bad=x"}
    assert reasons == {
        "p00": ("missing", "missing"),
        "p01": ("failed", "wrong_size"),
        "p02": ("failed", "unreadable"),
        "p03": ("failed", "other_pair"),
    }
    assert all(row.status == OK and row.scores.keys() == {one.name for one in COLUMNS} for row in evaluation.rows if row.method == "Mean")
    assert all(bool(row.message) == (row.status != OK) for row in evaluation.rows)
    assert not evaluation.is_whole


def test_scores_are_those_of_the_command_score(folders: Path, evaluation: Evaluation) -> None:
    scores, _ = score_files(folders / "ir" / "p01.png", folders / "vis" / "p01.png", folders / "fused" / "Mean" / "p01.png", COLUMNS)
    row = next(one for one in evaluation.rows if (one.pair_id, one.method) == ("p01", "Mean"))
    assert row.scores == scores


def test_rows_do_not_depend_on_the_number_of_processes(folders: Path, evaluation: Evaluation) -> None:
    assert repr(evaluate_folders(ask(folders, workers=2))) == repr(evaluation)


def test_what_is_no_row_is_told(evaluation: Evaluation) -> None:
    orphan, beside, stranger = evaluation.notes
    assert "alone.png" in orphan and "beside.png" in beside
    assert stranger == "no picture of Stranger is named like a pair: its first is 'one', the first pair 'p00'; rename the pictures"


def test_pictures_and_folders_of_no_pair_are_told_and_are_no_methods(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    picture = read_picture(tmp_path / "fused" / "Mean" / "p00.png").pixels
    for name in ("q1", "q2"):
        write_png(tmp_path / "fused" / "Mean" / f"{name}.png", picture)
    write_png(tmp_path / "fused" / "Nested" / "run" / "p00.png", picture)
    for name in ("Empty", "__pycache__", ".hidden"):
        (tmp_path / "fused" / name).mkdir()
    found = evaluate_folders(ask(tmp_path))
    assert {row.method for row in found.rows} == {"Empty", "Mean", "Nested"}
    folder = tmp_path / "fused"
    assert found.notes == (
        f"Empty holds no pictures; put them into {folder / 'Empty'}, or take the folder out",
        "left out, 2 pictures of Mean named like no pair: q1.png, q2.png",
        f"Nested holds no pictures but 1 folder (run); put its pictures into {folder / 'Nested'}",
    )


def test_what_was_done_to_a_fused_picture_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 2)
    mean = tmp_path / "fused" / "Mean"
    cv2.imwrite(str(mean / "p00.png"), 20 * read_picture(mean / "p00.png").pixels.astype(np.uint16))
    grey = read_picture(mean / "p01.png").pixels
    Image.fromarray(np.dstack([grey, np.full_like(grey, 128)]), mode="LA").save(mean / "p01.png")
    found = evaluate_folders(ask(tmp_path))
    dark, clear = found.rows
    assert dark.status == clear.status == OK and dark.flags == clear.flags == (CONVERTED,) and found.problems == ()
    assert "png grey16" in dark.message and "nearly black" in dark.message and dark.message.endswith("; save it as 8 bits")
    assert clear.message == f"{mean / 'p01.png'} (png grey-alpha8): alpha flattened over black"
    assert "2 pictures converted before judging, with the flag 'converted':" in list(describe(found)) and dark.message in describe(found)
    score(tmp_path / "ir" / "p01.png", tmp_path / "vis" / "p01.png", mean / "p01.png")
    assert capsys.readouterr().err == f"{clear.message}\n"


def test_a_pair_that_cannot_be_used_is_a_failed_row_of_every_method(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    write_png(tmp_path / "vis" / "p01.png", np.zeros((56, 63), np.uint8))
    found = evaluate_folders(ask(tmp_path))
    assert [(row.pair_id, row.status, row.reason) for row in found.rows] == [("p00", OK, ""), ("p01", FAILED, "flat")]
    assert not found.is_whole


def test_a_file_that_is_not_there_is_no_failure_unless_a_pair_has_none(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    write_png(tmp_path / "fused" / "Half" / "p00.png", read_picture(tmp_path / "fused" / "Mean" / "p00.png").pixels)
    assert evaluate_folders(ask(tmp_path)).is_whole
    (tmp_path / "fused" / "Mean" / "p01.png").unlink()
    assert not evaluate_folders(ask(tmp_path)).is_whole


def test_a_folder_of_pictures_is_told_how_to_lay_them_out(folders: Path) -> None:
    with pytest.raises(
        InputError, match=r"holds 4 pictures and no folders; expected one folder of pictures per method, such as .*/GFF/p00.png"
    ):
        evaluate_folders(ask(folders, fused="fused/Mean"))
    with pytest.raises(InputError, match="is not a folder"):
        evaluate_folders(ask(folders, fused="nowhere"))


def test_a_score_by_a_variant_bears_its_names(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [folders / "ir" / "p01.png", folders / "vis" / "p01.png", folders / "fused" / "Mean" / "p01.png"]
    score(*files, metrics="VIFF,mi", variant="diff-if", form=Format.json)
    scores = score_files(*files, choose_columns(["vif", "mi_ln"]))[0]
    assert json.loads(capsys.readouterr().out) == {"variant": "diff-if", "scores": {"vif": scores["vif"], "mi": scores["mi_ln"]}}
    score(*files, metrics="Nabf", variant="tang-matlab", form=Format.csv)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["metric"], row["printed as"]) for row in rows] == [("nabf", "Nabf"), ("nabf_swapped", "Nabf")]
    score(*files, metrics="VIFF", variant="diff-if", form=Format.table)
    assert re.search(r"metric +┃ printed as +┃ +score .*│ vif +│ VIFF +│", capsys.readouterr().out, re.DOTALL)
    score(*files, metrics="mi", variant="", form=Format.json)
    assert list(json.loads(capsys.readouterr().out)["scores"]) == [*STANDARD_METRICS, "mi"]


def test_a_metric_that_fails_is_a_flag_beside_what_was_converted(folders: Path) -> None:
    def fail(fused: Fused) -> float:
        raise ValueError("out of luck")

    path = folders / "fused" / "Mean" / "p01.png"
    scene = prepare("p01", *(read_picture(folders / name / "p01.png").pixels for name in ("ir", "vis")))
    file = PublishedFile("Mean", str(path), "", OK, remarks=("it was turned",))
    row = _score_file(file, scene, [find_metric("mi"), replace(find_metric("mi"), name="broken", judge=fail)])
    assert row.status == OK and row.flags == (METRIC_FAILED, CONVERTED)
    assert row.message == "broken failed on p01: ValueError: out of luck; it was turned"
    found = Evaluation(columns=COLUMNS, rows=(row,), notes=())
    assert found.problems == found.converted == (row,)


def test_a_file_that_is_not_there_is_said_so(folders: Path) -> None:
    files = [folders / "ir" / "p01.png", folders / "vis" / "p01.png", folders / "fused" / "p01.png"]
    with pytest.raises(InputError, match=r"fused/p01.png: there is no such file"):
        score_files(*files, COLUMNS)


def test_a_picture_of_another_size_and_a_folder_are_refused_with_a_remedy(folders: Path) -> None:
    a, b = folders / "ir" / "p01.png", folders / "vis" / "p01.png"
    with pytest.raises(InputError, match=r"is 63 x 55, its sources are 63 x 56; scores need equal sizes: name the picture in the size"):
        score_files(a, b, folders / "fused" / "Knowledge_Bad=x" / "p01.png", COLUMNS)
    with pytest.raises(InputError, match=r"fused is a folder, where a file is expected; name one picture in it"):
        score_files(a, b, folders / "fused", COLUMNS)


def test_names_of_metrics_are_found_in_either_case() -> None:
    assert [one.name for one in choose_columns(["SSIM", "Vif_A", "q_CB"])] == ["ssim", "vif_a", "q_cb"]
    assert choose_columns(["ALL"]) == choose_columns(["all"])
    assert [one.name for one in choose_columns(["qcb", "VARIANCE", "AG", "mutinf"], "vifb")] == ["q_cb", "sd", "ag", "mi"]
    named = [[one.name for one in choose_columns([name], "tang-matlab")] for name in ("nabf", "Nabf", "NABF", "NABF_swapped")]
    assert named == [["nabf"], ["nabf", "nabf_swapped"], ["nabf", "nabf_swapped"], ["nabf_swapped"]]
    assert [one.name for one in choose_columns(["IQA:ssim"])] == ["iqa:ssim"]
    with pytest.raises(FusionPriorError, match="unknown metric 'SIM'; did you mean ssim"):
        choose_columns(["SIM"])


# --- tables -----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small() -> Evaluation:
    """Two methods on two pairs with scores that are easily told."""
    metrics = (replace(find_metric("mi"), name="mi"), replace(find_metric("mi"), name="psnr_x", better="zero", passport=None))
    numbers: Mapping[str, list[float]] = {"A_1": [1.0, 12.0, 3.0, 14.0], "B&C": [1.0, -11.0, 2.0, math.nan]}
    rows = [
        ScoreRow(pair_id=pair_id, method=method, version="", content_key="", status=OK, scores={"mi": one[at], "psnr_x": one[at + 1]})
        for method, one in numbers.items()
        for at, pair_id in ((0, "p0"), (2, "p1"))
    ]
    rows += [
        ScoreRow(pair_id="p0", method="=gone", version="", content_key="", status=FAILED, reason="unreadable", message="it is no picture")
    ]
    columns = tuple(Column(metric.name, metric) for metric in metrics)
    return Evaluation(columns=columns, rows=tuple(sorted(rows, key=lambda row: (row.pair_id, row.method))), notes=())


def tabulate(evaluation: Evaluation) -> Table:
    pairs = len({row.pair_id for row in evaluation.rows})
    return make_table(evaluation.columns, find_standings(evaluation.rows, evaluation.columns), pairs)


def test_entries_tell_mean_deviation_count_and_place(small: Evaluation) -> None:
    entries = tabulate(small).entries
    assert entries["A_1", "mi"] == Entry("2.0000", "1.4142", "", 1)
    assert entries["B&C", "mi"] == Entry("1.5000", "0.7071", "", 2)
    assert entries["B&C", "psnr_x"] == Entry("-11.000", "", "1", 1)
    assert entries["=gone", "mi"] == Entry("–", "", "0", 0)
    assert entries["A_1", RANK] == Entry("1.38", place=1) and entries["B&C", RANK] == Entry("1.38", place=1)


def test_what_looks_equal_is_marked_alike(small: Evaluation) -> None:
    rows = tuple(replace(row, scores={"mi": 1 + 1e-9 * number, "psnr_x": 0.0}) for number, row in enumerate(small.rows) if row.status == OK)
    entries = tabulate(replace(small, rows=rows)).entries
    assert {entries[method, "mi"].place for method in ("A_1", "B&C")} == {1}


def test_methods_are_columns_where_metrics_outnumber_them(small: Evaluation) -> None:
    head, rows = to_cells(tabulate(small))
    assert head == ["method", "mi ↑", "psnr_x → 0", "mean rank ↓"] and [str(row[0]) for row in rows] == ["=gone", "A_1", "B&C"]
    assert str(rows[1][1]) == "2.0000 ± 1.4142" and rows[1][1].spans[0].style == "bold" and rows[2][1].spans[0].style == "underline"
    many = replace(small, columns=small.columns * 2)
    head, rows = to_cells(tabulate(many))
    assert head == ["metric", "=gone", "A_1", "B&C"] and str(rows[-1][0]) == "mean rank ↓"


def test_latex_sets_symbols_arrows_names_and_marks(small: Evaluation) -> None:
    assert to_latex(tabulate(small)).startswith("% needs \\usepackage{booktabs}; ")
    lines = [line for line in to_latex(tabulate(small)).splitlines() if not line.startswith("%")]
    lines.insert(0, "")
    assert lines[1:3] == [r"\begin{tabular}{lrrr}", r"\toprule"] and lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert lines[3] == r"Method & MI $\uparrow$ & psnr\_x $\to 0$ & mean rank $\downarrow$ \\"
    assert lines[6] == r"A\_1 & \textbf{2.0000} $\pm$ 1.4142 & \underline{13.000} $\pm$ 1.414 & \textbf{1.38} \\"
    assert lines[7] == r"B\&C & \underline{1.5000} $\pm$ 0.7071 & \textbf{$-$11.000} (1) & \textbf{1.38} \\"
    upright = to_latex(tabulate(replace(small, columns=small.columns * 2)))
    assert "\\toprule\n" + r"Metric & =gone & A\_1 & B\&C \\" in upright


def test_latex_says_what_was_judged(small: Evaluation) -> None:
    columns = (Column("mi", find_metric("mi_ln"), "MI_x"),)
    rows = tuple(replace(row, scores={"mi_ln": 1.0}) for row in small.rows if row.status == OK)
    text = to_latex(tabulate(replace(small, columns=columns, rows=rows)), "diff-if")
    assert "% variant diff-if\n" in text and r"Method & MI\_x $\uparrow$ & mean rank" in text
    mi = find_metric("mi_ln")
    assert f"% MI_x: mi_ln, version {mi.version}: {mi.definition}\n" in text


@pytest.mark.parametrize(("name", "row"), [("[x]", "{}[x] & "), (" *", "{} * & "), ("a\tb\nc", "a b c & "), ("x[1]", "x[1] & ")])
def test_a_name_is_no_argument_of_the_row_before(small: Evaluation, name: str, row: str) -> None:
    rows = tuple(replace(one, method=name if one.method == "A_1" else one.method) for one in small.rows)
    assert f"\n{row}" in to_latex(tabulate(replace(small, rows=rows)))


def test_where_0_is_the_best_signs_do_not_cancel(small: Evaluation) -> None:
    numbers = {"A_1": [9.0, -9.0], "B&C": [1.0, 1.0]}
    rows = tuple(
        replace(row, pair_id=pair_id, method=method, status=OK, scores={"mi": 1.0, "psnr_x": number})
        for (method, scores), row in zip(numbers.items(), small.rows, strict=False)
        for pair_id, number in zip(("p0", "p1"), scores, strict=True)
    )
    table = tabulate(replace(small, rows=rows))
    assert table.entries["A_1", "psnr_x"].mean == "0.0000" and table.entries["A_1", "psnr_x"].place == 2
    assert table.entries["B&C", "psnr_x"].place == 1
    assert table.remarks == ("psnr_x: the best and the second best are by the mean of |score|, since plus and minus cancel in a mean",)


@pytest.mark.parametrize("methods", [2, 5, 12])
def test_a_table_fits_its_terminal_and_loses_no_entry(small: Evaluation, methods: int) -> None:
    rows = [replace(small.rows[1], method=f"method {number:02d}", pair_id=pair) for number in range(methods) for pair in ("p0", "p1")]
    table = tabulate(replace(small, rows=tuple(rows), columns=choose_columns(["mi"]) + small.columns[1:]))
    assert lay_out(table, None) == ([to_cells(table)], "")
    for width in (45, 60, 80, 200):
        parts, sentence = lay_out(table, width)
        assert all(1 + sum(measure_cells(*part)) <= width for part in parts)
        assert sum((len(head) - 1) * len(body) for head, body in parts) == 3 * methods
        assert (sentence == SHORTENED) == (not any("±" in str(cell) for _, body in parts for row in body for cell in row))
        assert all("method" in head[0] or "metric" in head[0] for head, _ in parts)


def test_latex_escapes_what_it_reads_as_a_command() -> None:
    assert escape_latex(r"a\b~^{&%$#_}") == r"a\textbackslash{}b\textasciitilde{}\textasciicircum{}\{\&\%\$\#\_\}"


def test_sentences_tell_failures_before_missing_files(evaluation: Evaluation) -> None:
    told = list(describe(evaluation))
    assert "4 of 7 pictures scored (1 other_pair, 1 unreadable, 1 wrong_size); 5 missing" in told
    first = told.index("4 of 7 pictures scored (1 other_pair, 1 unreadable, 1 wrong_size); 5 missing") + 1
    assert all("has no file" not in one for one in told[first : first + 3]) and told[-1].startswith("… and 3 more")


def test_pairs_that_cannot_be_used_are_counted_as_pairs(tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    picture = read_picture(tmp_path / "fused" / "Mean" / "p00.png").pixels
    for method, names in {"Half": ("p00", "p02"), "Twice": ("p00",)}.items():
        for name in names:
            write_png(tmp_path / "fused" / method / f"{name}.png", read_picture(tmp_path / "fused" / "Mean" / f"{name}.png").pixels)
    cv2.imwrite(str(tmp_path / "fused" / "Twice" / "p00.bmp"), picture)
    write_png(tmp_path / "vis" / "p01.png", np.zeros((56, 63), np.uint8))
    write_png(tmp_path / "ir" / "p02.png", np.zeros((55, 63), np.uint8))
    found = evaluate_folders(ask(tmp_path))
    reasons = {(row.pair_id, row.method): row.reason for row in found.rows}
    assert len(reasons) == 9 and reasons["p00", "Twice"] == "ambiguous" and reasons["p02", "Half"] == "size_mismatch"
    assert [(pair.pair_id, pair.reason) for pair in found.unusable] == [("p01", "flat"), ("p02", "size_mismatch")]
    sentence = "2 of 3 pictures scored (1 ambiguous); 2 of 3 pairs cannot be used for any method (1 flat, 1 size_mismatch)"
    assert sentence in list(describe(found))


# --- small pictures ---------------------------------------------------------------------------------------------------------------------


def test_pictures_of_any_size_are_scored_by_what_is_defined_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [GOLDEN / "c11_tiny16" / f"{which}.png" for which in "abf"]
    score(*files, variant="liu2012", form=Format.json)
    said = capsys.readouterr()
    scores = json.loads(said.out)["scores"]
    assert scores["q_s"] == pytest.approx(list_values("Q_S")["c11_tiny16"], rel=1e-6) and said.err == ""
    score(*files, metrics="ms_ssim,EN", form=Format.json)
    said = capsys.readouterr()
    scores = json.loads(said.out)["scores"]
    assert scores["vif"] is scores["ms_ssim"] is None and scores["en"] > 0 and scores["qabf"] > 0
    assert said.err == "undefined, since the shorter side has 16 px: vif, vif_a, vif_b (from 41 px); ms_ssim (from 161 px)\n"
    for name, file in zip(("ir", "vis", "fused/Mean"), files, strict=True):
        write_png(tmp_path / name / "x.png", read_picture(file).pixels)
        write_png(tmp_path / name / "y.png", read_picture(file).pixels[:2, :3])
    found = evaluate_folders(ask(tmp_path, columns=choose_columns(["en", "ssim", "VIF"])))
    assert [(row.status, sorted(name for name, one in row.scores.items() if math.isnan(one))) for row in found.rows] == [
        (OK, ["vif"]),
        (OK, ["ssim", "vif"]),
    ]
    assert found.notes == ("undefined on 2 pairs with too short a side, the shortest of 2 px: ssim (from 7 px); vif (from 41 px)",)
    csv_rows = list(csv.DictReader(io.StringIO(write(found, tmp_path / "rows.csv").read_text())))
    assert [row["vif"] for row in csv_rows] == ["", ""] and float(csv_rows[0]["ssim"]) < 2


def test_a_list_that_names_nothing_is_no_default(folders: Path) -> None:
    with pytest.raises(InputError, match="' , ' names nothing"):
        score(folders, folders, folders, metrics=" , ")


def test_one_pixel_is_scored_and_fusing_asks_for_as_much_as_a_build(tmp_path: Path) -> None:
    files = [tmp_path / f"{which}.png" for which in "abf"]
    for level, file in enumerate(files, 7):
        write_png(file, np.full((1, 1), level, np.uint8))
    scores, (flat, sentence) = score_files(*files, choose_columns(["mse", "ssim"]))
    assert scores["mse"] == 2.5 and math.isnan(scores["ssim"]) and "ssim (from 7 px)" in sentence
    assert "a.png: every pixel is 7; " in flat and flat.endswith("a build sets such a pair aside")
    with pytest.raises(InputError, match="is 1 x 1; expected at least 41 px on each side, as in a build"):
        fuse_files(find_method("average"), *files[:2], tmp_path / "out.png")


def test_what_a_build_would_warn_of_or_refuse_is_told_by_hand_too(folders: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    a, b = folders / "ir" / "p01.png", folders / "vis" / "p01.png"
    dark, flat, out = tmp_path / "dark.png", tmp_path / "flat.png", tmp_path / "out.png"
    cv2.imwrite(str(dark), read_picture(a).pixels.astype(np.uint16))  # 16 bits of which 8 are used: nearly black
    write_png(flat, np.full(read_picture(a).pixels.shape[:2], 9, np.uint8))
    sentences = score_files(dark, b, a, COLUMNS)[1]
    assert any(one.startswith(f"{dark}: nearly black") for one in sentences)
    fuse_files(find_method("average"), dark, b, out)
    assert str(dark) in caplog.text
    with pytest.raises(InputError, match=r"flat.png: every pixel is 9; name pictures that show something"):
        fuse_files(find_method("average"), a, flat, out)
    before = a.read_bytes()
    with pytest.raises(InputError, match=r"p01.png is a source, which the fused picture must not replace"):
        fuse_files(find_method("average"), a, b, a)
    assert a.read_bytes() == before


# --- files ------------------------------------------------------------------------------------------------------------------------------


def write(evaluation: Evaluation, path: Path) -> Path:
    write_evaluation(path, evaluation, find_standings(evaluation.rows, evaluation.columns))
    return path


def test_parquet_and_csv_hold_every_row(small: Evaluation, tmp_path: Path) -> None:
    table = pq.read_table(write(small, tmp_path / "deep" / "rows.parquet"))
    assert table.column_names == [*ROW_FIELDS, "mi", "psnr_x"] and table["method"].to_pylist() == ["=gone", "A_1", "B&C", "A_1", "B&C"]
    assert table["psnr_x"].to_pylist() == [None, 12.0, -11.0, 14.0, None]
    judged = json.loads(table.schema.metadata[b"fusion_prior"])
    assert judged["variant"] == "" and [one["metric"] for one in judged["metrics"]] == ["mi", "psnr_x"]
    assert (
        judged["metrics"][0]["definition"] == find_metric("mi").definition and judged["metrics"][0]["version"] == find_metric("mi").version
    )
    rows = list(csv.DictReader(io.StringIO(write(small, tmp_path / "rows.CSV").read_text())))
    assert [row["mi"] for row in rows] == ["", "1.0", "1.0", "3.0", "2.0"] and rows[0]["message"] == "it is no picture"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["deep", "rows.CSV"]


def test_an_infinite_score_is_inf_in_files_and_null_in_json(small: Evaluation, tmp_path: Path) -> None:
    rows = (replace(small.rows[1], scores={"mi": math.inf, "psnr_x": math.nan}),)
    infinite = replace(small, rows=rows)
    assert pq.read_table(write(infinite, tmp_path / "x.parquet"))["mi"].to_pylist() == [math.inf]
    assert write(infinite, tmp_path / "x.csv").read_text().endswith(",inf,\n")
    assert list(load_workbook(write(infinite, tmp_path / "x.xlsx"))["scores"].values)[1][-2:] == ("inf", None)
    found = to_json(infinite, find_standings(rows, small.columns), ())
    assert found["rows"][0]["mi"] is None and found["summary"][0]["metrics"]["mi"] == {"mean": None, "sd": None, "n": 0, "mean_abs": None}


def test_a_workbook_has_rows_summary_and_failures_and_no_formulas(small: Evaluation, tmp_path: Path) -> None:
    book = load_workbook(write(small, tmp_path / "book.xlsx"))
    assert book.sheetnames == ["scores", "summary", "failures", "metrics"]
    scores = list(book["scores"].values)
    assert scores[0] == (*ROW_FIELDS, "mi", "psnr_x") and scores[2][-2:] == (1, 12) and scores[5][-1] is None
    assert scores[2][3:7] == (None,) * 4  # blank, and no empty text
    judged = list(book["metrics"].values)
    assert judged[0][:5] == ("variant", "name", "printed", "metric", "version") and judged[1][1] == judged[1][3] == "mi"
    cell = book["scores"]["B2"]
    assert (cell.value, cell.data_type) == ("=gone", "s")
    summary = list(book["summary"].values)
    assert summary[0] == ("method", "pairs", "mean rank", "mi", "mi sd", "mi n", "psnr_x", "psnr_x sd", "psnr_x n")
    assert summary[3] == ("B&C", 2, 1.375, 1.5, pytest.approx(math.sqrt(0.5)), 2, -11, None, 1)
    assert [row[:4] for row in book["failures"].values][1:] == [("p0", "=gone", "failed", "unreadable")]


def test_files_that_could_not_be_written_are_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        parse_targets(str(tmp_path / "taken.csv"), None, ())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is no folder"):
        parse_targets(None, str(tmp_path / "file" / "x.tex"), ())
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_targets("~/new/x.CSV", "~/new/x.tex", (tmp_path / "in",)) == (tmp_path / "new" / "x.CSV", tmp_path / "new" / "x.tex")
    assert parse_targets(None, None, ()) == (None, None)


def test_files_are_not_written_over_each_other_or_among_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.csv").symlink_to(tmp_path / "x.tex")
    with pytest.raises(InputError, match="--out and --latex are both"):
        parse_targets(str(tmp_path / "x.csv"), str(tmp_path / "x.tex"), ())
    (tmp_path / "link").symlink_to(tmp_path / "fused")
    for folder in ("fused/Mean", "link"):
        with pytest.raises(InputError, match="which holds pictures that are read"):
            parse_targets(str(tmp_path / folder / "x.csv"), None, (tmp_path / "a", tmp_path / "fused"))


def test_a_write_that_fails_leaves_nothing(small: Evaluation, tmp_path: Path) -> None:
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write(small, tmp_path / "taken.csv")
    assert [one.name for one in tmp_path.iterdir()] == ["taken.csv"]


# --- the command ------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the troublesome metric is an installed plug-in."""
    about = tmp_path / "plug_in" / "troublesome-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(PLUG_IN)
    (about / "entry_points.txt").write_text("[fusion_prior.metrics]\ntroublesome = troublesome_metrics\n")
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (ROOT, HERE, about.parent))), "COLUMNS": "200"}


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `fusion-prior evaluate` on folders; what still runs at the end is ended."""
    processes: list[subprocess.Popen[str]] = []

    def begin(root: Path, *arguments: object) -> "subprocess.Popen[str]":
        command = [
            sys.executable,
            "-m",
            "flows.command_line",
            "evaluate",
            "--a",
            root / "ir",
            "--b",
            root / "vis",
            "--fused",
            root / "fused",
        ]
        process = subprocess.Popen(
            [*map(str, command), *map(str, arguments)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def test_the_command_prints_everything_and_says_what_failed(
    folders: Path, start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    process = start(folders, "--metrics", "mi,scd", "--format", "json", "--out", "all.csv", "--latex", "table.tex")
    out, err = process.communicate(timeout=240)
    found = json.loads(out)
    assert process.returncode == 1, err
    assert [one["name"] for one in found["metrics"]] == ["mi", "scd"] and len(found["rows"]) == 12 and len(found["notes"]) == 3
    mean = next(one for one in found["summary"] if one["method"] == "Mean")
    assert mean["pairs"] == 4 and mean["mean_rank"] == 1.0 and mean["metrics"]["mi"]["n"] == 4
    assert "4 of 7 pictures scored" in err and "Traceback" not in err
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 13 and r"\toprule" in (tmp_path / "table.tex").read_text()


def test_files_are_written_though_nobody_reads_the_table(
    folders: Path, start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path
) -> None:
    for form in ("table", "json"):
        process = start(folders, "--metrics", "mi", "--format", form, "--out", f"{form}.csv", "--latex", f"{form}.tex")
        assert process.stdout
        process.stdout.close()
        process.wait(timeout=240)
        assert (tmp_path / f"{form}.csv").is_file() and (tmp_path / f"{form}.tex").is_file()
        assert process.stderr and "Traceback" not in process.stderr.read()


def test_the_table_is_printed_though_a_file_cannot_be_written(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    arguments = {"a": folders / "ir", "b": folders / "vis", "fused": folders / "fused", "metrics": "mi", "workers": 1, "form": Format.csv}
    with pytest.raises(InputError, match=r"x.csv cannot be written \(No space left on device\).*; .*x.tex cannot be written"):
        evaluate(**arguments, out=str(tmp_path / "x.csv"), latex=str(tmp_path / "x.tex"))
    assert capsys.readouterr().out.startswith("method,pairs,mean rank,mi,mi sd,mi n\nBad=x,0,") and list(tmp_path.iterdir()) == []


def test_methods_are_compared_on_their_common_pairs_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, 3)
    write_png(tmp_path / "fused" / "Half" / "p00.png", read_picture(tmp_path / "fused" / "Mean" / "p00.png").pixels)
    arguments = {"a": tmp_path / "ir", "b": tmp_path / "vis", "fused": tmp_path / "fused", "metrics": "mi", "workers": 1}
    evaluate(**arguments, form=Format.json, latex=str(tmp_path / "x.tex"))
    said = capsys.readouterr()
    sentence = "Half has scores on 1 of 3 pairs: means and ranks compare different pairs; --common"
    assert sentence in said.err and f"% {sentence}" in (tmp_path / "x.tex").read_text() and sentence in json.loads(said.out)["notes"][0]
    evaluate(**arguments, form=Format.json, common=True)
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert [one["pairs"] for one in found["summary"]] == [1, 1] and len(found["rows"]) == 6
    assert found["summary"][0]["metrics"] == found["summary"][1]["metrics"] and "over the 1 pair, of 3," in said.err


def test_a_pair_that_ends_its_process_twice_is_a_row(start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    write_pairs(tmp_path, 3)
    spoil(tmp_path / "fused" / "Mean" / "p01.png", 251)
    process = start(tmp_path, "--metrics", "first_pixel,mi", "--format", "json", "--workers", 2)
    out, err = process.communicate(timeout=240)
    rows = {row["pair_id"]: row for row in json.loads(out)["rows"]}
    assert process.returncode == 1 and {key: row["reason"] for key, row in rows.items()} == {"p00": "", "p01": "killed", "p02": ""}
    assert "scoring it ended every process that tried" in rows["p01"]["message"] and rows["p01"]["mi"] is None and rows["p02"]["mi"] > 0
    assert "Traceback" not in err


def spoil(path: Path, level: int) -> None:
    picture = read_picture(path).pixels.copy()
    picture[0, 0] = level
    write_png(path, picture)


def test_stopped_by_hand_it_leaves_no_file_and_no_process(start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    spoil(tmp_path / "fused" / "Mean" / "p01.png", 252)
    process = start(tmp_path, "--metrics", "first_pixel", "--out", "out/all.csv", "--workers", 1)
    children: list[psutil.Process] = []
    for _ in range(1200):
        if children or process.poll() is not None:
            break
        children = [one for one in psutil.Process(process.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        time.sleep(0.1)
    assert children
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process hears it
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "") and re.search("^stopped; ", err, re.MULTILINE) and "Traceback" not in err
    assert not (tmp_path / "out").exists() and not any(one.is_running() for one in children)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"metrics": "sim"}, "did you mean ssim"),
        ({"metrics": ",,"}, "',,' names nothing; give names with commas between them, or leave the option out"),
        ({"variant": "vifbb"}, "did you mean vifb"),
        ({"out": "x.pdf"}, r"--out x.pdf: expected the name of a local file that ends in .parquet, .csv or .xlsx"),
        ({"out": "x"}, r"--out x: expected the name of a local file"),
        ({"out": ""}, r"--out '': expected the name of a local file"),
        ({"out": "s3://bucket/x.csv"}, r"s3://bucket/x.csv is an address; expected the name of a local file"),
        ({"out": "~nobody-of-this-name/x.csv"}, "expected the name of a local file"),
        ({"latex": "p00.png"}, r"--latex p00.png: expected the name of a local file that ends in .tex"),
        ({"out": "x.csv", "latex": "x.csv"}, r"--latex x.csv: expected the name of a local file that ends in .tex"),
        ({"out": "nowhere/x.csv"}, "nowhere/x.csv lies in nowhere, which holds pictures"),
        ({"latex": "nowhere/deep/x.tex"}, "lies in nowhere"),
    ],
)
def test_a_wrong_request_is_refused_before_any_folder_is_read(asked: dict[str, Any], words: str) -> None:
    nowhere = Path("nowhere")
    with pytest.raises(FusionPriorError, match=words):
        evaluate(nowhere, nowhere, nowhere, **asked)
    with pytest.raises(InputError, match="is not a folder"):
        evaluate(nowhere, nowhere, nowhere)
