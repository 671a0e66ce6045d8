"""The command line as a person or a script would use it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from distributed import Client

from flows.build import build
from flows.engines import rehearse
from flows.options import check_worker_count
from flows.recipe import Recipe
from prior.pictures import read_picture, write_png
from storage.errors import InputError, SnapshotNotFound, StoreError
from storage.snapshot import Snapshot
from storage.tables import to_score_rows

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent

PLUG_IN = """Metadata-Version: 2.1
Name: troublesome
Version: 1
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which the troublesome methods are an installed plug-in."""
    about = tmp_path / "plug_in" / "troublesome-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(PLUG_IN)
    (about / "entry_points.txt").write_text("[fusion_prior.methods]\ntroublesome = troublesome_methods\n")
    path = os.pathsep.join(map(str, (ROOT, HERE, about.parent)))
    return os.environ | {"PYTHONPATH": path, "PREFECT_HOME": str(tmp_path / "prefect"), "COLUMNS": "200"}


def start(environment: dict[str, str], *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "flows.command_line", *map(str, arguments)]
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(environment["PREFECT_HOME"]).parent,
        # a shell lets what it starts in the background ignore Ctrl-C, and children of these tests would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        process_group=0,
    )


def call(environment: dict[str, str], *arguments: object) -> tuple[int, str, str]:
    process = start(environment, *arguments)
    out, err = process.communicate(timeout=240)
    return process.returncode, out, err


@pytest.fixture
def store(tmp_path: Path, client: Client, ask: Callable[..., Recipe]) -> str:
    """A store with one snapshot, tagged v1: three pairs, four methods, one of which fails."""
    address = str(tmp_path / "store")
    build(ask(methods=["average", "maximum", "tif", "raises"]), address, client, tag="v1")
    return address


def test_build_with_the_flow_ends_with_the_id_alone_on_stdout(
    environment: dict[str, str], make_pairs: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    folders = make_pairs(3)
    arguments = ("build", "--a", folders["a"], "--b", folders["b"], "--methods", "average,tif", "--store", tmp_path / "s", "--tag", "v1")
    code, out, err = call(environment, *arguments)
    assert code == 0, err
    assert out.strip() == Snapshot(str(tmp_path / "s"), "v1").id
    assert "Wins by diff-if" in err and "3 of 3 pairs have a winner" in err and "Traceback" not in err
    again = call(environment, *arguments, "--engine", "plain")
    assert again[:2] == (0, out) and "nothing to do" in again[2]


def test_dry_run_tells_what_would_be_done_and_leaves_nothing(
    environment: dict[str, str], make_pairs: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    folders = make_pairs(3)
    code, out, err = call(environment, "build", "--a", folders["a"], "--b", folders["b"], "--dry-run", "--store", tmp_path / "s")
    assert code == 0, err
    assert "pairs: 3, usable: 3" in out and "candidates to evaluate: 24" in out and "time: about" in out and "disk: about 0 MB" in out
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_winners_scores_and_pairs_print_rows(environment: dict[str, str], store: str, form: str) -> None:
    for command, count, word in (("winners", 3, "runner_up"), ("scores", 12, "no light at all"), ("pairs", 3, "shift_confidence")):
        code, out, err = call(environment, command, "--store", store, "--snapshot", "v1", "--format", form)
        assert code == 0, err
        assert word in out
        if form == "json":
            assert len(json.loads(out)) == count
        elif form == "csv":
            assert len(out.splitlines()) == count + 1


def test_winners_tells_how_many_would_be_others_under_balanced(environment: dict[str, str], store: str) -> None:
    code, out, err = call(environment, "winners", "--store", store, "--criterion", "qabf", "--format", "json")
    rows = json.loads(out)
    assert code == 0 and set(rows[0]) == {"pair_id", "method", "value", "runner_up", "margin", "flags", "balanced"}
    different = sum(row["method"] != row["balanced"] for row in rows)
    assert f"{different} of 3 winners would be others under `balanced`" in err


def test_score_of_the_exported_winner_is_the_score_in_the_table(environment: dict[str, str], store: str, tmp_path: Path) -> None:
    snapshot = Snapshot(store)
    paths = {name: tmp_path / f"{name}.png" for name in ("a", "b", "winner")}
    for name, picture in snapshot.pictures("p00").items():
        write_png(paths[name], picture)
    code, out, _ = call(environment, "score", *paths.values(), "--format", "json")
    winner = next(row for row in to_score_rows(snapshot.table("scores")) if (row.pair_id, row.method) == ("p00", snapshot.winner_of("p00")))
    assert code == 0 and json.loads(out) == {"scores": winner.scores}


def test_fuse_writes_the_candidate_of_a_build(environment: dict[str, str], store: str, tmp_path: Path) -> None:
    code, out, err = call(
        environment, "fuse", "--method", "tif", tmp_path / "ir" / "p00.png", tmp_path / "vis" / "p00.png", tmp_path / "f.png"
    )
    assert code == 0, err
    assert out.strip() == str(tmp_path / "f.png") and read_picture(tmp_path / "f.png").pixels.shape == (56, 64)


def test_show_draws_sources_and_best_candidates(environment: dict[str, str], store: str, tmp_path: Path) -> None:
    code, _, err = call(environment, "show", "p00", "--store", store, "--out", tmp_path / "sheet.png")
    assert code == 0, err
    sheet = read_picture(tmp_path / "sheet.png").pixels
    assert sheet.shape[1] > 1200 and np.unique(sheet).size > 100


def test_lists_of_methods_and_metrics_name_what_there_is(environment: dict[str, str]) -> None:
    for command, names in (("methods", ("gff", "wavelet", "tif")), ("metrics", ("ssim", "vif", "qabf"))):
        code, out, _ = call(environment, command, "--format", "json")
        rows = {row["name"]: row for row in json.loads(out)}
        assert code == 0 and all(rows[name]["reference"] for name in names)


def test_recipe_example_passes_its_own_check(environment: dict[str, str], tmp_path: Path) -> None:
    code, out, _ = call(environment, "recipe", "example")
    (tmp_path / "recipe.toml").write_text(out)
    checked = call(environment, "recipe", "check", tmp_path / "recipe.toml")
    assert code == 0 and checked[0] == 0 and "valid recipe" in checked[2]
    (tmp_path / "recipe.toml").write_text(out.replace("keep =", "kept ="))
    refused = call(environment, "recipe", "check", tmp_path / "recipe.toml")
    assert refused[0] == 2 and "kept" in refused[2] and "Traceback" not in refused[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("winners", "--store", "nowhere"), "make one with: fusion-prior build --store nowhere"),
        (("build", "--a", "nowhere", "--b", "nothing"), "is not a folder"),
        (("build", "--a", "nowhere"), "give a and b"),
        (("build", "--methods", "gfff"), "did you mean gff"),
        (("build", "--criterion", "__import__('os')"), "cannot stand in a criterion"),
        (("build", "--criterion", "2*sim"), "did you mean ssim"),
        (("build", "--scheduler", "tcp://127.0.0.1:9"), "no Dask scheduler answers"),
        (("build", "--store", "ftp://x/y"), "is not an address of a store"),
        (("build", "--tag", "a/b"), "is not a valid name"),
        (("build", "--a", "x", "--b", "y", "--task", "underwater"), "underwater"),
        (("score", "x.png", "y.png", "z.png"), "x.png"),
        (("branch", "--delete"), "--delete takes the name of one branch and no snapshot"),
        (("branch", "trial", "v1", "--delete"), "--delete takes the name of one branch and no snapshot"),
        (("fuse", "--method", "nothing", "x.png", "y.png", "z.png"), "unknown method 'nothing'"),
        (("fuse", "--method", "medical", "x.png", "y.png", "z.png"), "methods, and one method is expected here; name one of them: average"),
        (("build", "--methods", "none"), "no method and no published results"),
        (("build", "--methods", "", "--dry-run"), "methods is empty"),
        (("build", "--workers", "100000", "--dry-run"), "give 0 for one per core"),
        (("reselect", "--criterion", "balanced", "--workers", "100000"), "give 0 for one per core"),
        (("methods", "--snapshot", "v1"), "give the store, too: --contribution STORE"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(environment: dict[str, str], arguments: tuple[str, ...], words: str) -> None:
    engine = ("--engine", "plain") if arguments[0] == "build" else ()
    code, out, err = call(environment, *arguments, *engine)
    assert (code, out) == (2, "") and words in err and "Traceback" not in err
    assert err.count("error: ") == 1 and err.strip().count("\n") == 0


def test_a_wrong_request_to_the_flow_is_refused_before_any_server_starts(environment: dict[str, str]) -> None:
    code, out, err = call(environment, "build", "--criterion", "2*sim", "--engine", "prefect")
    assert (code, out) == (2, "") and err.count("\n") == 1


def test_an_error_inside_the_flow_is_told_once(
    environment: dict[str, str], make_pairs: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    folders = make_pairs(2)
    code, out, err = call(
        environment,
        "build",
        "--a",
        folders["a"],
        "--b",
        folders["b"],
        "--methods",
        "raises,returns_nan",
        "--store",
        tmp_path / "s",
        "--workers",
        1,
    )
    assert (code, out) == (2, "") and "4 of 4 live candidates failed" in err and "Traceback" not in err


@pytest.mark.parametrize("workers", [13, 100_000, -1])
def test_as_many_workers_as_no_machine_can_use_are_refused(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr("dask.system.CPU_COUNT", 3)
    assert [check_worker_count(one) for one in (0, 1, 12)] == [0, 1, 12]
    with pytest.raises(InputError, match=f"{workers} workers on 3 cores: expected 0 to 12"):
        check_worker_count(workers)


@pytest.mark.filterwarnings("default")  # Prefect has its own
def test_the_flow_refuses_them_too_and_no_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import build_prior

    monkeypatch.setattr(build_prior, "open_logs", lambda: None)
    for asked, words in (
        ({"workers": 100_000}, "give 0 for one per core"),
        ({"methods": ["none"]}, "no method and no"),
        ({"methods": []}, "is empty"),
    ):
        with pytest.raises(InputError, match=words):
            build_prior.build_prior.fn(**asked)


def test_a_dry_run_starts_no_more_workers_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def refuse(workers: int) -> None:
        started.append(workers)
        raise InputError("none today")

    monkeypatch.setattr("flows.engines.CPU_COUNT", 3)
    monkeypatch.setattr("flows.engines.open_client", refuse)
    for workers in (0, 1, 12):
        with pytest.raises(InputError, match="none today"):
            rehearse({}, "store", workers)
    assert started == [3, 1, 3]


# Interruptions.


@pytest.fixture
def slow_recipe(tmp_path: Path, make_pairs: Callable[..., dict[str, str]]) -> Path:
    """A recipe for eight pairs with a method that takes a second and keeps a log of its calls."""
    folders = make_pairs(8)
    path = tmp_path / "slow.toml"
    path.write_text(
        f'methods = ["average", "counted"]\n[parameters.counted]\nlog = "{tmp_path / "log"}"\npause = 1.0\n'
        f'[[source]]\na = "{folders["a"]}"\nb = "{folders["b"]}"\n'
    )
    return path


def wait_for_lines(path: Path, count: int) -> None:
    for _ in range(2400):
        if path.exists() and len(path.read_text().splitlines()) >= count:
            return
        time.sleep(0.1)
    raise TimeoutError(f"{path} never had {count} lines")


def wait_until_gone(pids: list[int]) -> list[int]:
    for _ in range(300):
        alive = [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not alive:
            return []
        time.sleep(0.1)
    return alive


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_an_answer_that_cannot_be_written_is_one_sentence(environment: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "flows.command_line", "recipe", "example"],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and done.stderr.startswith("error: No space left on device; ")


@pytest.mark.parametrize(("engine", "how"), [("plain", signal.SIGKILL), ("plain", signal.SIGINT), ("prefect", signal.SIGINT)])
def test_a_build_that_was_ended_goes_on_with_what_is_missing(
    environment: dict[str, str], slow_recipe: Path, tmp_path: Path, engine: str, how: int
) -> None:
    store, log = str(tmp_path / "s"), tmp_path / "log"
    arguments = ("build", "--recipe", slow_recipe, "--store", store, "--engine", engine, "--workers", 2)
    process = start(environment, *arguments)
    try:
        wait_for_lines(log, 5)
    except TimeoutError:
        process.kill()
        raise AssertionError(process.communicate()[1]) from None
    children = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does: every process hears it
    else:
        process.send_signal(how)
    _, err = process.communicate(timeout=120)
    if how == signal.SIGINT:
        assert process.returncode == 130 and "run the same command again to resume" in err and "Traceback" not in err
    assert wait_until_gone(children) == [], "no worker outlives its build"
    with pytest.raises((SnapshotNotFound, StoreError)):
        Snapshot(store)
    calls = len(log.read_text().splitlines())
    code, out, err = call(environment, *arguments, "--engine", "plain")
    assert code == 0, err
    assert out.strip() == Snapshot(store).id and Snapshot(store).table("selections").num_rows == 8
    finished = calls - 2  # each of the two workers was in one pair, or just between two
    assert len(log.read_text().splitlines()) <= calls + 8 - finished + 1 < calls + 8, "finished pairs are not done again"
    assert not list((tmp_path / "s" / "journal").glob("*"))
