"""What a dry run tells is about what the build then takes, and a build says in words what is left to do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from distributed import Client

from flows.build import build, describe_todo
from flows.estimate import Estimate, count_channels, estimate
from flows.output import describe, print_estimate
from flows.plan import make_plan, recall
from flows.progress import stay_silent
from flows.recipe import Recipe
from flows.summary import Failures, Summary
from flows.survey import take_survey
from prior.pictures import read_picture, write_png
from storage.repository import CHUNKS, create_store

Ask = Callable[..., Recipe]


def measure_pictures(store: str) -> int:
    return sum(path.stat().st_size for path in Path(store, *CHUNKS.split("/")).rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", ["grey", "grey as rgb", "rgb", "grey and rgb"])
@pytest.mark.parametrize("keep", ["winners", "all"])
def test_the_estimated_disk_space_is_what_the_pictures_take(client: Client, ask: Ask, tmp_path: Path, kind: str, keep: str) -> None:
    recipe, store = ask(methods=["average", "tif"], keep=keep), str(tmp_path / "store")
    for path in (tmp_path / "ir").iterdir():
        other = tmp_path / "vis" / path.name
        if kind in ("grey as rgb", "rgb"):
            recolour(path, kind)
        if kind != "grey":
            recolour(other, "rgb" if "and" in kind else kind)
    expected = estimate(recipe, store, client, stay_silent).megabytes * 1e6
    made = build(recipe, store, client).snapshot
    assert made.table("pairs")["b_format"][0].as_py() == f"png {'rgb8' if 'and' in kind else kind.replace(' ', '-') + '8'}"
    assert measure_pictures(store) == pytest.approx(expected, rel=0.02)


def recolour(path: Path, kind: str) -> None:
    grey = read_picture(path).pixels
    write_png(path, cv2.applyColorMap(grey, cv2.COLORMAP_AUTUMN) if kind == "rgb" else np.dstack([grey] * 3))


@pytest.mark.parametrize(
    ("form", "channels"),
    [
        ("png grey1", 1),
        ("png grey8, alpha flattened", 1),
        ("tiff grey16 [0, 255]", 1),
        ("png grey-alpha16 dtype", 1),
        ("bmp grey-as-rgb8", 1),
        ("png grey-as-rgba8", 1),
        ("jpeg rgb8", 3),
        ("png rgba16 dtype", 3),
        ("gif palette8", 3),
        ("jpeg cmyk8", 3),
    ],
)
def test_channels_follow_from_what_a_file_was(form: str, channels: int) -> None:
    assert count_channels(form) == channels


def test_what_is_left_is_told_in_words(client: Client, ask: Ask, tmp_path: Path) -> None:
    recipe, address = ask(methods=["average", "tif"]), str(tmp_path / "store")
    store = create_store(address)
    plan = make_plan(recipe, address, take_survey(recipe, client, stay_silent), recall(store, None))
    assert describe_todo(plan.todo) == "6 candidates to evaluate on 3 pairs"
    assert describe_todo(()) == "nothing to evaluate"
    task = plan.todo[0]
    (first, second) = (one.blank for one in task.candidates)
    one_known = replace(task, known={first.content_key: first})
    assert describe_todo([one_known]) == "1 candidate to evaluate on 1 pair"
    all_known = replace(task, known={first.content_key: first, second.content_key: second})
    assert describe_todo([all_known]) == "1 pair to finish, all candidates known"
    assert describe_todo([all_known, one_known]) == "1 candidate to evaluate on 2 pairs"


def test_progress_of_one_pair_is_told_of_one_pair(client: Client, ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipe = ask(methods=["average"])
    for name in ("p01", "p02"):
        (tmp_path / "ir" / f"{name}.png").unlink()
    with caplog.at_level("INFO"):
        build(recipe, str(tmp_path / "store"), client)
    assert "1 pair usable of 1; 1 candidate to evaluate on 1 pair" in caplog.text


def test_one_of_anything_is_told_in_the_singular(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimate(Estimate(pairs=1, usable=1, methods=("tif",), candidates=1, seconds=1, megabytes=1, warnings=()))
    assert "1 method: tif\n" in capsys.readouterr().out
    summary = Summary(
        address="s",
        snapshot_id="i",
        criterion="diff-if",
        tallies=(),
        differ=0,
        selections=1,
        counts={"pairs": 2},
        set_aside=(("q", "flat", "why"),),
        misregistered=("p",),
        failed=(Failures("tif", "raised", 1, "tif on p"),),
    )
    assert describe(summary)[1:] == [
        "Set aside: 1 pair (q (flat)); `fusion-prior pairs` says why.",
        "Maybe misregistered: 1 pair (p); --max-shift sets such pairs aside.",
        "1 candidate failed (raised 1); `fusion-prior scores` says why.",
    ]
