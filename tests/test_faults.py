"""Faults that people meet: files spoilt or locked, words mistyped, processes that die."""

import ast
import contextlib
import errno
import json
import math
import os
import re
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import fake_cifar
import fake_voc
import nbformat
import numpy as np
import pandas as pd
import pytest
import sweep_fake
import torch
from PIL import Image
from sweep_fake import FakeRun

from nbkit import (
    checkpoints,
    cli,
    data,
    doctor,
    figures,
    losses,
    models,
    notebooks,
    pages,
    paths,
    presets,
    runs,
    sweep,
    tables,
    train,
)
from nbkit.data import DataError, cache, layout, voc
from nbkit.data.cifar import OFFICIAL, fingerprint
from nbkit.experiments import classification, moons, segmentation, thresholds, transfer
from nbkit.experiments.cifar import CifarRun
from nbkit.experiments.classification import ESTIMATED, ClassificationRun
from nbkit.experiments.moons import MoonsRun
from nbkit.experiments.pretraining import TransferRun, divide
from nbkit.experiments.segmentation import SegmentationRun
from nbkit.experiments.thresholds import ThresholdRun
from nbkit.notebooks import NotebookError
from nbkit.runs import StoreError

ROOT = paths.ROOT


def one_line(error: object) -> str:
    """Return what is said, and hold that it is one line."""
    text = str(error).rstrip("\n")
    assert "\n" not in text
    return text


def said(words: list[str], capsys) -> str:
    """Run the command, which must refuse in one line; return that."""
    assert cli.main(words) == 1
    return one_line(capsys.readouterr().err)


def refusing(number: int):
    """Return a function that fails as the file system does."""

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.fixture
def locked(monkeypatch):
    """Return a function that makes a folder one that may not be entered, even for root."""
    real, closed = os.stat, []

    def stat(path, *args, **kwargs):
        for folder in closed:
            if not isinstance(path, int) and Path(path).is_relative_to(folder):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", stat)
    return closed.append


# ---- data


def test_a_mended_mask_is_read_again_in_the_same_process(tmp_path):
    root = fake_voc.write(tmp_path / "mine")
    before, mark = data.folder(root, 32), voc.fingerprint(root, 32)
    path = root / "SegmentationClass" / "photo_0.png"
    mended = np.asarray(Image.open(path)).copy()
    mended[mended == 1] = 3
    fake_voc.save_mask(root, "SegmentationClass", "photo_0", mended)
    after = data.folder(root, 32)
    assert voc.fingerprint(root, 32) != mark
    assert after.unit_labels.tolist() != before.unit_labels.tolist()
    assert data.folder(root, 32) is after


@pytest.mark.parametrize("content", ["", "[]", "{}", "3", '{"train": 1, "test": 2}'])
def test_a_spoilt_manifest_is_named_with_the_way_out(sandbox, content):
    root = fake_cifar.write_cache(paths.cache(), train=20, test=20)
    path = root / "cifar10" / "manifest.json"
    path.write_text(content)
    for attempt in (lambda: fingerprint("vehicles"), lambda: cache.read(path.parent, 10)):
        with pytest.raises(DataError, match=r"manifest.json is no manifest.*nbkit data fetch"):
            attempt()


@pytest.mark.parametrize("name", ["classes.txt", "ImageSets/Segmentation/train.txt"])
def test_a_mark_of_the_byte_order_is_no_part_of_a_name(tmp_path, name):
    root = fake_voc.write(tmp_path / "mine")
    plain = layout.read(root)
    path = root / name
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert layout.read(root) == plain
    for encoding in ("utf-16", "utf-16-le"):
        path.write_bytes("cat\ndog\nbus\n".encode(encoding))
        _, _, flaws = layout.read(root)
        assert f"{path}: " in flaws[0]
        assert "save it as UTF-8" in flaws[0]


@pytest.mark.parametrize("name", ["cifar", "scene", "msrcc", ""])
def test_a_mistyped_data_set_is_answered_with_the_names(sandbox, monkeypatch, capsys, name):
    monkeypatch.chdir(sandbox)
    told = said(["data", "verify", name], capsys)
    assert "must be one of cifar10, cifar100, imagenet, msrc, pets3, coco20, voc; got" in told


def test_a_name_is_refused_where_none_is_taken(sandbox, capsys):
    assert "takes no name, got 'msrc'" in said(["data", "where", "msrc"], capsys)
    assert "data set must be one of cifar10" in said(["data", "fetch", ""], capsys)


def test_a_folder_in_the_working_directory_needs_no_separator(sandbox, monkeypatch, capsys):
    fake_voc.write(sandbox / "mine")
    monkeypatch.chdir(sandbox)
    assert cli.main(["data", "verify", "mine"]) == 0


# ---- folders


def test_folders_are_absolute_wherever_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NBKIT_RESULTS", "mine")
    monkeypatch.setenv("NBKIT_RUNS", "~/runs")
    monkeypatch.delenv("NBKIT_DATA", raising=False)
    assert paths.results() == tmp_path / "mine"
    assert paths.checkpoint("key") == tmp_path / "home" / "runs" / "checkpoints" / "key.pt"
    assert paths.cache() == paths.ROOT / "data" / "cache"
    assert paths.environment()["NBKIT_RESULTS"] == str(tmp_path / "mine")
    assert "NBKIT_DATA" not in paths.environment()


def test_folders_that_may_not_be_entered_are_named_with_the_way_out(sandbox, locked, capsys):
    locked(sandbox / "data")
    locked(sandbox / "results")
    assert cli.main(["data", "where"]) == 0
    assert "missing" in capsys.readouterr().out
    assert cli.main(["data", "verify"]) == 0
    assert f"nothing in the cache yet, {paths.cache()}:" in capsys.readouterr().out
    assert "missing" in said(["data", "verify", "cifar10"], capsys)
    assert cli.main(["data", "verify", "msrc"]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert cli.main(["doctor"]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line[:3] == "FIX"]
    assert "set NBKIT_RESULTS to another folder" in line
    assert fingerprint("cifar") == OFFICIAL["cifar"]


def test_the_doctor_wants_a_place_for_checkpoints(sandbox, monkeypatch, capsys):
    (sandbox / "file").write_text("")
    monkeypatch.setenv("NBKIT_RUNS", str(sandbox / "file"))
    assert cli.main(["doctor"]) == 1
    assert "set NBKIT_RUNS to another folder" in capsys.readouterr().out


def test_the_doctor_asks_for_every_package_and_its_version(sandbox, monkeypatch, capsys):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "scipy" else real(name))
    assert cli.main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "scipy 1.13 or later missing; pip install" in told
    for name in ("nbclient", "seaborn", "latex2mathml"):
        assert f"{name} {real(name)}" in told


def test_the_python_that_is_needed_is_one_number():
    needed = ".".join(map(str, doctor.PYTHON))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={needed}"
    assert f"Python {needed} or later" in (ROOT / "README.md").read_text()
    assert f"Python {needed} or later" in (ROOT / "Makefile").read_text()
    assert f"python>={needed}," in (ROOT / "environment.yml").read_text()


def test_an_older_python_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 11, 3))
    assert doctor._python()[0] is False
    assert "install Python 3.11.4 or later" in doctor._python()[2]


def test_every_package_that_is_imported_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    declared = {re.match(r"[\w-]+", line)[0] for group in groups for line in group}
    declared |= {"dask"}  # that of distributed
    files = [
        p for folder in ("nbkit", "notebooks/src", "tests") for p in (ROOT / folder).rglob("*.py")
    ]
    found = set()
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        found |= {name.partition(".")[0] for name in names}
    found -= {"nbkit", *sys.stdlib_module_names, *(path.stem for path in files)}
    owners = metadata.packages_distributions()
    lost = {
        name
        for name in found
        if not declared & {owner.lower().replace("_", "-") for owner in owners[name]}
    }
    assert lost == set()


def test_the_commands_for_a_cluster_have_the_words_that_readme_gives_them():
    for name in ("scheduler", "worker"):
        module = pytest.importorskip(f"distributed.cli.dask_{name}")
        (line,) = re.findall(rf"^dask {name} .*", (ROOT / "README.md").read_text(), re.M)
        known = {option for parameter in module.main.params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", line)) <= known


# ---- the store


def test_a_second_broken_file_does_not_overwrite_the_first(tmp_path):
    store, run = runs.Store(tmp_path), FakeRun()
    store.path(run).parent.mkdir(parents=True)
    for content in ("first", "second", "third"):
        store.path(run).write_text(content)
        with pytest.warns(UserWarning, match="set aside"):
            assert store.load(run) is None
    kept = sorted(path.read_text() for path in store.path(run).parent.glob("*.bad*"))
    assert kept == ["first", "second", "third"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_a_result_is_stored_where_there_are_no_links(tmp_path, monkeypatch, number):
    store, run = runs.Store(tmp_path), FakeRun()
    monkeypatch.setattr(os, "link", refusing(number))
    store.save(run, sweep_fake.result(run))
    store.save(run, {"metrics": {"last": {"score": 99}}})  # the first one stays
    assert store.load(run)["metrics"] == {"last": {"score": 0.333333}, "best": {"score": 0.333333}}
    assert [path.name for path in store.path(run).parent.iterdir()] == [f"{run.key}.json"]


def test_a_frame_of_nothing_is_refused(tmp_path):
    store = runs.Store(tmp_path)
    with pytest.raises(ValueError, match=r"experiment must be one of thresholds.*; got 'moon'"):
        store.frame("moon")
    with pytest.raises(ValueError, match=r"frame\(\[run\]\)"):
        store.frame(MoonsRun())
    assert store.frame("moons").empty


# ---- checkpoints


def fit(checkpoint: Path, epochs: int = 1, seed: int = 0) -> train.History:
    inputs, targets = torch.zeros(4, 2), torch.tensor([[0, 1, 0, 1]])
    return train.fit(
        models.MLP((2, 2), [seed]),
        inputs,
        targets,
        losses.create("gce"),
        epochs=epochs,
        batch_size=2,
        learning_rate=0.1,
        checkpoint=checkpoint,
    )


SPOILT = {
    "HTML": lambda path: path.write_text("<!DOCTYPE html><html>"),
    "nothing": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 9),
    "a list": lambda path: torch.save([1, 2], path),
    "code": lambda path: torch.save(print, path),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another network": lambda path: torch.save(
        torch.load(path) | {"tensors": [torch.zeros(3)] * 8}, path
    ),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_checkpoint_is_named_with_the_way_out(tmp_path, spoil):
    path = tmp_path / "run.pt"
    fit(path)
    spoil(path)
    with pytest.raises(train.TrainingError, match=r"run.pt cannot be read \(") as caught:
        fit(path, 2)
    told = one_line(caught.value)
    assert told.endswith("delete it and start again, or name another file if it is no checkpoint")
    assert "weights_only" not in told


def test_a_checkpoint_goes_on(tmp_path):
    fit(tmp_path / "run.pt")
    assert len(fit(tmp_path / "run.pt", 3).losses) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_comes_after_the_first_epoch_and_then_now_and_again(tmp_path, monkeypatch):
    def kept(every):
        monkeypatch.setattr(checkpoints, "EVERY", every)
        path = tmp_path / f"{every}.pt"
        fit(path, 4)
        return len(torch.load(path, weights_only=True)["history"]["losses"])

    assert [kept(every) for every in (0, math.inf)] == [4, 1]


def test_the_history_of_a_checkpoint_stays_on_the_host(tmp_path):
    """Where the network is on a card, too: what is scored later has to join it."""
    path = tmp_path / "run.pt"
    fit(path)
    saved = torch.load(path, weights_only=True)["tensors"]
    elsewhere = [torch.empty_like(tensor, device="meta") for tensor in saved]  # as on a card
    history = checkpoints.load(path, elsewhere, 1, seeds=[0])
    assert {loss.device.type for loss in history["losses"]} == {"cpu"}


def test_a_checkpoint_of_another_seed_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "run.pt"
    fit(path)
    before = path.read_bytes()
    with pytest.raises(train.TrainingError, match=r"run.pt began with seeds = \[0\] and .* \[1\]"):
        fit(path, 2, seed=1)
    assert path.read_bytes() == before


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = str(tmp_path / "run.pt")
    fit(path)
    given = {"epochs": 1, "batch_size": 2, "learning_rate": 0.1, "checkpoint": path}
    data = torch.zeros(4, 2), torch.tensor([[0, 1, 0, 1]])
    for change in ({"learning_rate": 0.2}, {"batch_size": 4}, {"schedule": "one_cycle"}):
        ((name, value),) = change.items()
        with pytest.raises(
            train.TrainingError, match=f"{name} = .* and would go on with .?{value}"
        ):
            train.fit(models.MLP((2, 2), [0]), *data, losses.create("gce"), **given | change)
    numbers = {"learning_rate": np.float64(0.1), "epochs": np.int64(2)}
    train.fit(models.MLP((2, 2), [0]), *data, losses.create("gce"), **given | numbers)
    assert len(torch.load(path, weights_only=True)["history"]["losses"]) == 2
    with pytest.raises(train.TrainingError, match="loss = 'GCE'"):
        train.fit(models.MLP((2, 2), [0]), *data, losses.create("cross_entropy"), **given)


def test_a_checkpoint_of_other_sizes_or_of_more_epochs_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 0)
    path, loss = tmp_path / "run.pt", losses.create("gce")
    given = {"batch_size": 2, "learning_rate": 0.1, "checkpoint": path}
    targets = torch.tensor([[0, 1, 0, 1]])
    train.fit(models.MLP((1, 2), [0]), torch.zeros(4, 1), targets, loss, epochs=3, **given)
    wider = models.MLP((2, 2), [0])  # the saved weights could be repeated to fill it
    before = [weight.clone() for weight in wider.parameters()]
    with pytest.raises(train.TrainingError, match="its network has other sizes"):
        train.fit(wider, torch.zeros(4, 2), targets, loss, epochs=4, **given)
    assert all(map(torch.equal, before, wider.parameters()))
    with pytest.raises(train.TrainingError, match="holds 3 epochs, and 2 were asked for"):
        train.fit(models.MLP((1, 2), [0]), torch.zeros(4, 1), targets, loss, epochs=2, **given)


def test_a_checkpoint_half_written_leaves_the_one_before_to_go_on_from(tmp_path, monkeypatch):
    path, save = tmp_path / "run.pt", torch.save
    fit(path)
    before = path.read_bytes()

    def half(state, file):
        save(state, file)
        os.truncate(file, os.path.getsize(file) // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(train.TrainingError, match="No space left on device"):
            fit(path, 2)
    assert path.read_bytes() == before
    assert len(fit(path, 2).losses) == 2
    assert [left.name for left in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(checkpoints.TrainingError, match=r"run.pt: .*set NBKIT_RUNS") as caught:
        fit(tmp_path / "file" / "run.pt")
    one_line(caught.value)
    save = torch.save

    def full(state, path):
        save(state, path)
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed\nat")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(checkpoints.TrainingError, match=r"file write failed; free some space"):
        fit(tmp_path / "run.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ---- notebooks and pages


def tiny(path: Path, *cells: str, parameters: str = 'preset = "laptop"', text: str = "") -> Path:
    """Write a small notebook."""
    first = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})
    made = [nbformat.v4.new_code_cell(cell) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text), first, *made])
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project, and no kernels: executing copies a notebook and notes what it is given."""

    def execute(path, output, given=None, **options):
        execute.given.append((given, options.get("environment")))
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, output)
        return 0.1

    execute.given = []
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.delenv("NBKIT_RUNS", raising=False)
    return tmp_path


class Inline:
    """A pool that works at once; a job named in ``deadly`` breaks it, as often as that says."""

    deadly: dict[str, int]

    def __enter__(self):
        self.broken = False
        return self

    def __exit__(self, *_):
        pass

    def submit(self, work, path, *rest):
        left = self.deadly.get(path.name, 0)
        if left and not self.broken:
            self.broken, self.deadly[path.name] = True, left - 1
        outcome = pages.BrokenProcessPool() if self.broken else work(path, *rest)
        return type("Future", (), {"result": lambda _: _raise(outcome)})()


def _raise(outcome):
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def study(monkeypatch, deadly=(), **options) -> list[str]:
    """Run the study in this process and return its lines; the last is what it raised."""
    Inline.deadly = dict(deadly)
    monkeypatch.setattr(pages, "pool_of", lambda workers: Inline())
    lines = []
    try:
        pages.study("smoke", show=lines.append, **options)
    except NotebookError as error:
        lines.append(one_line(error))
    return lines


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("seed = 0\nepochs = 2**3", "line 2 of the cell 'parameters', `epochs = 2 ** 3`, gives no"),
        ("seed = 0\nname = 'x", "line 2 of the cell 'parameters' is no Python"),
        ("size = other", "gives no plain value"),
    ],
)
def test_a_parameters_cell_that_holds_more_than_values_is_told_by_line(
    tmp_path, parameters, reason
):
    path = tiny(tmp_path / "odd.ipynb", parameters=parameters)
    with pytest.raises(NotebookError) as caught:
        notebooks.parameters(path)
    assert one_line(caught.value).startswith("odd.ipynb: ")
    assert reason in str(caught.value)


def test_bad_pages_do_not_stop_the_study(project, monkeypatch):
    folder = notebooks.FOLDER
    tiny(folder / "00_sum.ipynb", parameters="epochs = 2**3")
    tiny(folder / "01_formula.ipynb", text="# Formulas\n$x_i_j$ and $y_i$")
    tiny(folder / "02_fine.ipynb")
    (folder / "solutions").mkdir()
    (folder / "solutions" / "02_fine.ipynb").write_text("{")
    lines = study(monkeypatch)
    assert "00_sum" in lines[0]
    assert "FAILED: solutions/02_fine.ipynb" in lines[3]
    assert lines[-1].startswith("2 of 4 notebooks failed: 00_sum.ipynb: line 1")
    index = project / "runs" / "smoke" / "index.html"
    assert "01_formula.html" in index.read_text()
    assert "02_fine.html" in index.read_text()
    page = index.with_name("01_formula.html").read_text()
    assert "$x_i_j$" in page
    assert "<msub>" in page


@pytest.mark.parametrize(("times", "failed"), [(1, 0), (2, 1)])
def test_notebooks_of_a_dead_worker_have_a_try_of_their_own(project, monkeypatch, times, failed):
    for name in ("00_first", "01_second", "02_third"):
        tiny(notebooks.FOLDER / f"{name}.ipynb")
    lines = study(monkeypatch, {"01_second.ipynb": times})
    assert sum("FAILED" in line for line in lines) == failed
    index = (project / "runs" / "smoke" / "index.html").read_text()
    assert "00_first.html" in index
    assert "02_third.html" in index
    assert ("01_second.html" in index) == (not failed)
    assert not failed or "01_second.ipynb: its process died" in lines[-1]


def test_pages_go_where_the_runs_are_to_go(project, monkeypatch, tmp_path):
    tiny(notebooks.FOLDER / "00_first.ipynb")
    monkeypatch.setenv("NBKIT_RUNS", str(tmp_path / "elsewhere"))
    study(monkeypatch)
    assert (tmp_path / "elsewhere" / "smoke" / "00_first.html").exists()
    assert not (project / "runs").exists()


def test_a_fresh_study_starts_from_an_empty_store(project, monkeypatch):
    asked = ('preset = "laptop"', 'device = "cpu"', 'engine = "dask"', "interactive = True")
    tiny(notebooks.FOLDER / "00_first.ipynb", parameters="\n".join(asked))
    old = project / "runs" / "smoke" / "results" / "moons" / "old.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}")
    study(monkeypatch)
    assert old.exists()
    study(monkeypatch, fresh=True, device="cuda", engine="inline")
    assert not old.exists()
    drawn = {"NBKIT_FIGURES": str(project / "runs" / "smoke" / "figures")}
    wanted = {"preset": "smoke", "device": "auto", "engine": "processes", "interactive": False}
    assert notebooks.execute.given == [
        (wanted, drawn),
        (
            wanted | {"device": "cuda", "engine": "inline"},
            drawn | {"NBKIT_RESULTS": str(old.parent.parent)},
        ),
    ]


@pytest.mark.parametrize(("fresh", "threads"), [(False, "2"), (True, None)])
def test_notebooks_side_by_side_share_the_cores(fresh, threads, project, monkeypatch):
    monkeypatch.setattr(pages, "cores", lambda: 4)
    for name in ("00_first", "01_second"):
        tiny(notebooks.FOLDER / f"{name}.ipynb")
    study(monkeypatch, fresh=fresh)
    given = [environment.get("OMP_NUM_THREADS") for _, environment in notebooks.execute.given]
    assert given == [threads] * 2


def test_a_study_that_cannot_write_names_the_variable(project, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NBKIT_RUNS", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="set NBKIT_RUNS to a folder you can write to"):
        pages.study("smoke", show=print)


@pytest.mark.parametrize(
    "export",
    [
        lambda: figures.save(figures.series(np.arange(2), {"a": np.zeros(2)}, ("", "", "")), "a"),
        lambda: tables.save(pd.DataFrame({"a": [1]}), "a"),
    ],
    ids=["figure", "table"],
)
def test_what_cannot_be_exported_names_the_variable(sandbox, monkeypatch, export):
    (sandbox / "file").touch()
    monkeypatch.setattr(Path, "replace", refusing(errno.ENOSPC))
    for place in (sandbox / "file", sandbox / "file" / "below", sandbox / "full"):
        monkeypatch.setenv("NBKIT_FIGURES", str(place))
        with pytest.raises(RuntimeError, match="set NBKIT_FIGURES to a folder you can write to"):
            export()


def test_a_study_without_notebooks_says_where_they_should_be(project, monkeypatch):
    assert study(monkeypatch) == [
        f"{notebooks.FOLDER} holds no notebook: run it in a clone of the study"
    ]


def test_a_refresh_uses_the_folders_of_the_project(project, monkeypatch, sandbox):
    source = notebooks.FOLDER / "src" / "00_first.py"
    source.parent.mkdir(parents=True)
    source.write_text('# %% tags=["parameters"]\nseed = 0\n')
    (project / "README.md").write_text("<!-- table: one -->\nold\n<!-- end -->\n")
    (project / "figures").mkdir(exist_ok=True)
    (project / "figures" / "one.csv").write_text("a,b\n1,2\n")
    given = {}
    real = notebooks.execute

    def execute(path, output, environment):
        given.update(environment)
        return real(path, output)

    monkeypatch.setattr(notebooks, "execute", execute)
    monkeypatch.setenv("NBKIT_FIGURES", str(sandbox / "elsewhere"))
    monkeypatch.setenv("NBKIT_RUNS", str(sandbox / "own runs"))
    assert len(list(notebooks.refresh())) == 1
    assert (sandbox / "own runs" / "refresh" / "00_first.ipynb").exists()
    assert given == {"NBKIT_RESULTS": None, "NBKIT_FIGURES": str(project / "figures")}
    assert "| 1 | 2 |" in (project / "README.md").read_text()
    assert not list(project.glob("README.md.*"))


@pytest.mark.parametrize(
    "more", [["--preset", "smoke"], ["--engine", "inline"], ["--device", "cpu"], ["--fresh"]]
)
def test_a_refresh_takes_no_other_option(more, capsys):
    assert more[0] in said(["study", "--refresh", *more], capsys)


# ---- sweeps


@pytest.mark.parametrize(
    "words",
    [
        ["--engine", "threads"],
        ["--device", "tpu"],
        ["--workers", "0"],
        ["--workers", "2", "--engine", "inline"],
    ],
)
def test_a_list_refuses_what_a_sweep_refuses(sandbox, capsys, words):
    told = said(["sweep", "moons", "--preset", "smoke", "--list", *words], capsys)
    assert words[0][2:] in told


@pytest.fixture
def cluster(fake_experiment):
    """A Dask scheduler in this process, without workers, and an experiment for it."""
    distributed = pytest.importorskip("distributed")
    made = distributed.LocalCluster(
        n_workers=0, processes=False, dashboard_address=None, threads_per_worker=1, protocol="tcp"
    )
    with made as cluster:
        yield cluster


def test_a_cluster_without_workers_is_told(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "PATIENCE", 0.2)
    with pytest.raises(ValueError, match=r"has no worker: start one with `dask worker tcp://"):
        sweep.compute(
            [FakeRun()], store=runs.Store(tmp_path), engine=cluster.scheduler_address, show=print
        )


class Client(contextlib.AbstractContextManager):
    """A Dask client that is sure of its workers; its futures are those of ``submit``."""

    def __init__(self, *_, **__):
        pass

    def __exit__(self, *_):
        pass

    def wait_for_workers(self, *_, **__):
        pass


@pytest.mark.usefixtures("fake_experiment")
def test_a_scheduler_that_dies_ends_the_sweep_with_one_error(tmp_path, monkeypatch):
    pytest.importorskip("distributed")

    class Lost(Client):
        def submit(self, *_, **__):
            return Mock(status="cancelled")

    monkeypatch.setattr("dask.distributed.Client", Lost)
    monkeypatch.setattr("dask.distributed.as_completed", iter)
    store = runs.Store(tmp_path)
    with pytest.raises(sweep.SweepError, match="is gone; run the same command again to go on"):
        sweep.compute([FakeRun()], store=store, engine="tcp://127.0.0.1:1", show=print)
    assert not list(tmp_path.rglob("*.txt"))


@pytest.mark.usefixtures("fake_experiment")
def test_a_scheduler_that_dies_after_the_last_run_does_not_undo_it(tmp_path, monkeypatch):
    pytest.importorskip("distributed")

    class Done(Client):
        def submit(self, *_, **__):
            outcomes = [sweep_fake.result(FakeRun())]
            return Mock(status="finished", result=lambda: outcomes)

        def run(self, *_, **__):
            raise OSError("the scheduler is gone")

    monkeypatch.setattr("dask.distributed.Client", Done)
    monkeypatch.setattr("dask.distributed.as_completed", list)
    store = runs.Store(tmp_path)
    report = sweep.compute([FakeRun()], store=store, engine="tcp://127.0.0.1:1", show=print)
    assert report.computed == 1
    assert store.missing([FakeRun()]) == []


# ---- runs and presets

KINDS = (MoonsRun, ThresholdRun, ClassificationRun, CifarRun)


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        ("gce(q=-3)", "q must be in"),
        ("gce(p=.1)", "gce takes no p"),
        ("nnpu(prior=2.0)", "prior must be in"),
        ("nnpu(variant='clmp')", "variant must be one of"),
        ("forward(kept='half')", "kept must be a number"),
    ],
)
def test_a_loss_that_cannot_be_made_is_refused_with_its_run(loss, reason):
    for kind in KINDS:
        with pytest.raises(ValueError, match=reason):
            kind(loss=loss)
    for kind in (SegmentationRun, TransferRun):
        with pytest.raises(ValueError, match=reason):
            kind(loss=loss, images=40, objects=1)


def test_the_estimated_share_of_labels_stays_allowed():
    assert ClassificationRun(loss=ESTIMATED).loss == CifarRun(loss=ESTIMATED).loss == ESTIMATED
    assert classification.balance(ClassificationRun(loss=ESTIMATED), "bayes", 0.5).weight_ratio == 1


def test_a_run_makes_its_loss_once_to_see_that_it_can_be_made(monkeypatch):
    made, create = [], losses.create
    monkeypatch.setattr(losses, "create", lambda *a, **b: made.append(a) or create(*a, **b))
    MoonsRun(loss="dist_pu(warm_up=3)")
    assert len(made) == 1


def test_runs_of_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match="labelled must be a whole number of at least 0, got -1"):
        CifarRun(labelled=-1)
    run = TransferRun(images=80, objects=4, fold=1, folds=4, distractors=15)
    with pytest.raises(ValueError, match=r"distractors must be below 15, .* got 15"):
        divide(run)


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Return a function that gives presets.toml a preset ``own``."""

    def write(section: str, *changes: tuple[str, str]) -> None:
        shipped = presets.FILE.read_text(encoding="utf-8")
        start = shipped.index(f"[smoke.{section}]")
        part = shipped[start : shipped.index("\n[", start) + 1].replace("[smoke.", "[own.")
        for old, new in changes:
            assert old in part
            part = part.replace(old, new)
        (tmp_path / "presets.toml").write_text(shipped + "\n" + part)
        monkeypatch.setattr(presets, "FILE", tmp_path / "presets.toml")

    real = presets.FILE
    yield write
    assert tomllib.loads(real.read_text(encoding="utf-8"))


WRONG = {
    "unknown key": (
        ("epochs = 2 }", "epochs = 2, batch_sise = 4 }"),
        "network: batch_sise is",
    ),
    "unknown key above": (("several_seeds", "severl_seeds"), "severl_seeds is unknown; there is"),
    "missing key": (("several_seeds = 1\n", ""), "several_seeds missing"),
    "text for a number": (("seeds = 1\n", 'seeds = "1"\n'), "seeds must be like 5, got '1'"),
    "number for a list": (
        ('["Complete", "CrossEntropy", "Exponential"]', "3"),
        "several_rows",
    ),
    "number for a table": (
        ('{ network = "narrow", size = 64, epochs = 2 }', "3"),
        "network must",
    ),
    "text inside": (("size = 64, epochs = 2 }", 'size = "64", epochs = 2 }'), "size must be like"),
    "key of another table": (
        ("images = 40, objects = 1 }", "images = 40, objects = 1, size = 64 }"),
        "single: size is unknown; there is dataset, images, objects",
    ),
    "unknown row": (('"CrossEntropy"', '"CrossEntrpy"'), "several_rows must be one of Complete"),
}


@pytest.mark.parametrize(("change", "reason"), WRONG.values(), ids=WRONG)
def test_a_preset_of_ones_own_is_told_by_its_place(own, sandbox, capsys, change, reason):
    own("segmentation", change)
    told = said(["sweep", "segmentation", "--preset", "own", "--list"], capsys)
    assert told.startswith("nbkit sweep: presets.toml, [own.segmentation]: ")
    assert reason in told


@pytest.mark.parametrize("given", ['"10"', "0", "-1", "10\nseed = 3"])
def test_a_shipped_preset_that_was_changed_is_told_too(monkeypatch, tmp_path, capsys, given):
    text = presets.FILE.read_text(encoding="utf-8")
    changed = text.replace("seeds = 10", f"seeds = {given}")
    assert changed.count(f"seeds = {given}") == 1
    (tmp_path / "presets.toml").write_text(changed)
    monkeypatch.setattr(presets, "FILE", tmp_path / "presets.toml")
    told = said(["sweep", "classification", "--list"], capsys)
    assert told.startswith("nbkit sweep: presets.toml, [laptop.classification]: seed")


def test_presets_that_are_no_toml_are_named(own, capsys):
    own("segmentation", ("seeds = 1\n", "seeds 1\n"))
    assert "nbkit sweep: presets.toml: " in said(["sweep", "moons", "--preset", "own"], capsys)


def test_a_preset_of_ones_own_may_be_right(own, sandbox, capsys):
    own("segmentation", ("seeds = 1\n", "seeds = 2\n"))
    assert cli.main(["sweep", "segmentation", "--preset", "own", "--list"]) == 0
    assert "missing" in capsys.readouterr().out
    assert len(segmentation.single("own")) == 2 * len(segmentation.ROWS)


@pytest.mark.parametrize("preset", ["small", "own"])
def test_a_study_says_what_its_preset_lacks(own, preset, capsys):
    own("segmentation")
    told = said(["study", "--preset", preset], capsys)
    assert "thresholds, moons, classification, label_noise" in told
    assert "take smoke or laptop" in told


@pytest.mark.parametrize(
    ("preset", "message"),
    [("foo", "must be one of"), ("laptop", "has no cifar"), ("smoke", "of synthetic scenes")],
)
def test_a_preset_without_photographs_is_told_as_such(preset, message):
    section = "segmentation" if preset == "smoke" else "cifar"
    with pytest.raises(ValueError, match=rf"photographs = '{preset}': .*{message}"):
        presets.photographs(preset, section)


def test_the_shipped_presets_are_right():
    for preset in presets.SHIPPED:
        for section in tomllib.loads(presets.FILE.read_text(encoding="utf-8"))[preset]:
            presets.sizes(preset, section)
    assert json.dumps(presets.sizes("laptop", "moons"))
    presets.check_study("laptop")
    for module in (moons, thresholds, segmentation, transfer):
        assert module.grid("smoke")
