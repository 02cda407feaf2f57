"""The command: its words, its exit status, and what it does without."""

import json
import os
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path

import pytest

from nbkit import cli, experiments, pages, runs, sweep
from nbkit.data.imagenet import ALEXNET

COMMANDS = ("study", "sweep", "data", "doctor")
SWEEP = ["sweep", "moons", "--preset", "smoke", "--engine", "inline", "--device", "cpu"]
NOTEBOOK_PACKAGES = (
    "papermill",
    "jupyter",
    "jupyterlab",
    "jupyter_client",
    "jupytext",
    "nbclient",
    "nbconvert",
    "nbformat",
    "matplotlib",
    "seaborn",
    "IPython",
    "ipykernel",
    "ipywidgets",
    "latex2mathml",
    "torchvision",
    "distributed",
)

# run by every child process before anything else: the named packages are not installed
HIDE = """
import importlib.machinery
import os
import sys

hidden = set(os.environ["HIDDEN"].split())


class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            return None
        return super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, context):
        if context.name in hidden:
            return ()
        return super().find_distributions(context)


at = sys.meta_path.index(importlib.machinery.PathFinder)
sys.meta_path[at] = Finder
"""


@pytest.fixture
def nbkit(sandbox):
    """Return a function that runs the command as a program, with some packages hidden."""
    (sandbox / "site").mkdir()
    (sandbox / "site" / "sitecustomize.py").write_text(HIDE)
    outside = sandbox / "outside"
    outside.mkdir()

    def program(*words: str, hidden: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        path = [str(sandbox / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
        return subprocess.run(
            [Path(sys.executable).with_name("nbkit"), *words],
            cwd=outside,
            env={**environment, "HIDDEN": " ".join(hidden)},
            capture_output=True,
            text=True,
        )

    return program


def finished(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.json")}


def wanted(experiment: str) -> set[str]:
    return {run.key for run in experiments.module(experiment).grid("smoke").values()}


# ---- words


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n    {name} " not in said] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example(name, capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main([name, "--help"])
    *_, heading, example = capsys.readouterr().out.rstrip().splitlines()
    assert heading == "example:"
    words = example.split()
    assert words[:2] == ["nbkit", name]
    assert cli._parser().parse_args(words[1:]).command == name


def test_the_version_is_the_one_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out.strip() == metadata.version("nbkit")


@pytest.mark.parametrize("words", [[], ["stduy"], ["sweep"], ["data", "steal"], ["study", "-x"]])
def test_wrong_words_end_in_status_2(words):
    with pytest.raises(SystemExit, match="2"):
        cli.main(words)


WRONG = {
    "study, preset": ("study --preset nonsense", "preset must be one of smoke, laptop"),
    "study, engine": ("study --engine nonsense", "engine must be inline, processes"),
    "study, device": ("study --device tpu", "device must be one of auto, cpu, cuda"),
    "sweep, preset": ("sweep moons --preset nonsense", "preset must be one of smoke, laptop"),
    "sweep, engine": ("sweep moons --engine nonsense", "engine must be inline, processes"),
    "sweep, device": ("sweep moons --device tpu", "device must be one of auto, cpu, cuda"),
    "sweep, workers": ("sweep moons --workers 0", "workers must be a whole number"),
    "sweep, experiment": ("sweep nonsense", "experiment must be one of thresholds, moons"),
    "sweep, only": ("sweep moons --preset smoke --only all", "only must be one of CrossEntropy"),
    "sweep, size": ("sweep moons --preset paper", "preset paper has no moons"),
    "data, fetch by hand": ("data fetch msrc", "msrc is put there by hand: see data/README.md*"),
    "data, fetch": ("data fetch cifar", "data set must be one of cifar10, cifar100, voc, imagenet"),
}


@pytest.mark.parametrize(("words", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_told_in_one_line_with_status_1(words, message, sandbox, capsys):
    assert cli.main(words.split()) == 1
    said = capsys.readouterr()
    command, value = words.split()[0], words.split()[-1]
    assert fnmatch(said.err, f"nbkit {command}: {message}*")
    assert value.lower() in said.err.lower()
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("name", ["cifar10", "imagenet"])
def test_a_data_set_that_is_not_there_is_told_with_the_way_to_it(name, sandbox, capsys):
    assert cli.main(["data", "verify", name]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "missing: `nbkit data fetch " + name in line


# ---- what it does


def test_a_sweep_fills_a_store_and_finds_it_again(sandbox, capsys):
    assert cli.main(SWEEP) == 0
    assert finished(sandbox / "results" / "moons") == wanted("moons")
    count = len(wanted("moons"))
    assert f"{count} runs: 0 found, {count} computed" in capsys.readouterr().out
    assert cli.main(SWEEP) == 0
    assert f"{count} runs: {count} found, 0 computed" in capsys.readouterr().out


def test_a_list_computes_nothing(sandbox, capsys):
    assert cli.main([*SWEEP, "--list"]) == 0
    count = len(wanted("moons"))
    assert f"{count} runs, {count} missing" in capsys.readouterr().out
    assert finished(sandbox) == set()


def test_only_some_runs_of_an_experiment(sandbox, capsys):
    assert cli.main([*SWEEP, "--only", "Weighted"]) == 0
    grid = experiments.module("moons").grid("smoke")
    own = {run.key for names, run in grid.items() if names[0] == "Weighted"}
    assert finished(sandbox / "results" / "moons") == own
    assert f"{len(own)} runs: 0 found, {len(own)} computed" in capsys.readouterr().out


def test_only_given_twice_means_both(sandbox, capsys):
    assert cli.main([*SWEEP, "--only", "Weighted", "--only", "Exponential", "--list"]) == 0
    grid = experiments.module("moons").grid("smoke")
    count = len({run.key for names, run in grid.items() if names[0] in ("Weighted", "Exponential")})
    assert f"{count} runs, {count} missing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("experiment", "name", "place"),
    [
        ("cifar", "extended", 0),
        ("cifar", "Exponential, r = 1", 1),
        ("transfer", "missing", 0),  # a verb of the rates too
        ("transfer", "misclassified", 1),
    ],
)
def test_only_a_part_or_else_a_row_of_any_part(sandbox, capsys, experiment, name, place):
    assert cli.main(["sweep", experiment, "--preset", "small", "--only", name, "--list"]) == 0
    grid = experiments.module(experiment).grid("small")
    count = len({run.key for names, run in grid.items() if names[place] == name})
    assert f"{count} runs, {count} missing" in capsys.readouterr().out
    assert count > 0


def test_a_failed_run_gives_status_1_and_the_others_are_kept(sandbox, monkeypatch, capsys):
    real = experiments.compute

    def one_fails(stack, device):
        bad = [run.loss == "exponential" and run.seed == 1 for run in stack]
        results = real(stack, device)
        return [RuntimeError("on purpose") if b else r for b, r in zip(bad, results, strict=True)]

    monkeypatch.setattr(experiments, "compute", one_fails)
    assert cli.main(SWEEP) == 1
    grid = experiments.module("moons").grid("smoke").values()
    failed = {run.key for run in grid if run.loss == "exponential" and run.seed == 1}
    assert finished(sandbox) == wanted("moons") - failed
    assert "on purpose" in capsys.readouterr().err


def test_a_failed_study_gives_status_1(sandbox, monkeypatch, capsys):
    def fails(*args, **kwargs):
        raise runs.StoreError("on purpose")

    monkeypatch.setattr(pages, "study", fails)
    assert cli.main(["study", "--preset", "smoke"]) == 1
    assert capsys.readouterr().err == "nbkit study: on purpose\n"


def test_a_study_is_told_its_options_and_ends_with_the_path_of_its_index(
    sandbox, monkeypatch, capsys
):
    told = []
    monkeypatch.setattr(
        pages, "study", lambda *args, show, **given: told.append((*args, given)) or sandbox / "i"
    )
    assert cli.main(["study", "--preset", "smoke"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(sandbox / "i")
    odd = ["--fresh", "--device", "cpu", "--engine", "inline"]
    assert cli.main(["study", "--preset", "smoke", *odd]) == 0
    assert told == [
        ("smoke", {"fresh": False, "device": "auto", "engine": "processes"}),
        ("smoke", {"fresh": True, "device": "cpu", "engine": "inline"}),
    ]


def test_a_sweep_is_told_its_options(sandbox, monkeypatch):
    told, report = [], sweep.Report(total=1, found=1)
    monkeypatch.setattr(sweep, "compute", lambda runs, **given: told.append(given) or report)
    sweeping = ["sweep", "moons", "--preset", "smoke"]
    assert cli.main([*sweeping, "--engine", "inline"]) == 0
    assert cli.main([*sweeping, "--workers", "3", "--device", "cpu"]) == 0
    assert {given.pop("store").root for given in told} == {sandbox / "results"}
    assert told == [
        {"engine": "inline", "workers": None, "device": "auto"},
        {"engine": "processes", "workers": 3, "device": "cpu"},
    ]


def test_an_interrupted_command_says_how_to_go_on(sandbox, monkeypatch, capsys):
    def stops(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(pages, "study", stops)
    assert cli.main(["study", "--preset", "smoke"]) == 130
    assert "the same command continues" in capsys.readouterr().err
    assert cli.main(["study", "--preset", "smoke", "--fresh"]) == 130
    assert "--fresh starts over" in capsys.readouterr().err


def test_a_time_limit_says_how_to_go_on(sandbox, monkeypatch, capsys):
    def stops(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(pages, "study", stops)
    monkeypatch.setattr(sys, "argv", ["nbkit", "study", "--preset", "smoke"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert cli.run() == 130
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "the same command continues" in capsys.readouterr().err


def test_a_refusal_of_the_file_system_is_told_in_one_line(sandbox, monkeypatch, capsys):
    def refused(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "index.html")

    monkeypatch.setattr(pages, "study", refused)
    assert cli.main(["study", "--preset", "smoke"]) == 1
    assert capsys.readouterr().err == "nbkit study: [Errno 13] Permission denied: 'index.html'\n"


def test_an_empty_cache_verifies_with_a_hint(sandbox, capsys):
    assert cli.main(["data", "verify"]) == 0
    assert "nbkit data fetch" in capsys.readouterr().out


def test_verify_looks_at_the_weights_in_the_cache_too(sandbox, capsys):
    (sandbox / "data").mkdir(exist_ok=True)
    (sandbox / "data" / ALEXNET.file).write_bytes(b"cut off")
    assert cli.main(["data", "verify"]) == 1
    assert f"{ALEXNET.file} is another file" in capsys.readouterr().err


# ---- what it does without


def test_the_command_sweeps_without_notebook_packages(nbkit, sandbox):
    done = nbkit(*SWEEP, hidden=NOTEBOOK_PACKAGES)
    assert done.returncode == 0, done.stderr
    assert finished(sandbox / "results" / "moons") == wanted("moons")


def test_a_study_without_notebook_packages_says_what_to_install(nbkit):
    done = nbkit("study", "--preset", "smoke", hidden=NOTEBOOK_PACKAGES)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nbkit study: ")
    assert "pip install" in done.stderr
    assert done.stderr.count("\n") == 1


HEAVY = ("torch", "numpy", "pandas", "sklearn", "matplotlib", "IPython", "papermill", "dask")


@pytest.mark.parametrize("module", ["nbkit", "nbkit.cli"])
def test_importing_loads_nothing_heavy(module):
    code = f"import sys, json, {module}; print(json.dumps(list(sys.modules)))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert set(HEAVY) & set(json.loads(said)) == set()


def test_the_package_is_the_command_too():
    said = subprocess.run([sys.executable, "-m", "nbkit", "--version"], capture_output=True)
    assert said.stdout.decode().strip() == metadata.version("nbkit")


# ---- doctor


@pytest.fixture
def machine(sandbox, monkeypatch):
    """Return a function that gives this machine its free disk and its memory, in GiB."""

    def give(free: float, memory: float) -> None:
        usage = shutil.disk_usage(sandbox)._replace(free=int(free * 2**30))
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": int(memory * 2**18)}
        monkeypatch.setattr(os, "sysconf", sizes.get, raising=False)
        monkeypatch.setattr(os, "sysconf_names", dict.fromkeys(sizes, 0), raising=False)

    give(50, 16)
    return give


def doctor(capsys) -> tuple[int, dict[str, str]]:
    """Return the status, and the lines by subject."""
    status = cli.main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    return status, {line.split()[1]: line for line in lines}


def test_a_machine_that_is_ready_has_ten_good_lines_at_most(machine, capsys):
    status, lines = doctor(capsys)
    assert status == 0
    assert {line[:4] for line in lines.values()} == {"ok  "}
    assert 5 <= len(lines) <= 10


@pytest.mark.parametrize(
    ("free", "memory", "subject", "fix"),
    [(0.9, 16, "results", "free some space"), (50, 2.9, "memory", "use --workers 1")],
)
def test_a_poor_machine_is_told_what_to_do(machine, capsys, free, memory, subject, fix):
    machine(free, memory)
    status, lines = doctor(capsys)
    assert status == 1
    assert lines[subject].startswith("FIX ")
    assert fix in lines[subject]


def test_the_doctor_tells_versions_device_memory_data_and_widgets(sandbox, capsys):
    _, lines = doctor(capsys)
    for name in ("torch", "numpy", "pandas", "scikit-learn"):
        assert f"{name} {metadata.version(name)}" in lines["packages"]
    assert f"ipywidgets {metadata.version('ipywidgets')}" in lines["notebooks"]
    assert any(precision in lines["device"] for precision in ("fp32", "bf16"))
    assert "GiB" in lines["memory"]
    assert str(sandbox / "results") in lines["results"]
    assert "digits and scenes embedded" in lines["data"]


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (("cifar10",), "CIFAR not cached"),
        (("cifar10", "cifar100"), "`nbkit data verify` checks it"),
    ],
    ids=["one", "both"],
)
def test_the_doctor_finds_cifar_where_both_sets_are(sandbox, capsys, there, told):
    for name in there:
        (sandbox / "data" / name).mkdir(parents=True)
    _, lines = doctor(capsys)
    assert lines["data"].endswith(told)


def test_the_doctor_wants_a_folder_for_the_data(sandbox, capsys):
    (sandbox / "data").write_text("")
    status, lines = doctor(capsys)
    assert status == 1
    assert lines["data"].endswith("data is no folder: set NBKIT_DATA to one")


def test_the_doctor_says_how_to_get_missing_notebook_packages(sandbox, monkeypatch, capsys):
    real = metadata.version

    def version(name):
        if name == "ipywidgets":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    status, lines = doctor(capsys)
    assert status == 1
    assert lines["notebooks"].startswith("FIX ")
    assert "ipywidgets missing; pip install" in lines["notebooks"]


def test_the_doctor_says_how_to_get_a_missing_package(nbkit):
    done = nbkit("doctor", hidden=("torch",))
    assert done.returncode == 1, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if " packages " in line]
    assert line.startswith("FIX ")
    assert "torch missing; pip install" in line
    assert done.stderr == ""


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/nbkit"])
def test_the_doctor_sees_results_that_cannot_be_written(sandbox, monkeypatch, capsys, place):
    if place.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("a folder where nobody can write, on Linux only")
    (sandbox / "file").write_text("")
    monkeypatch.setenv("NBKIT_RESULTS", str(sandbox / place))
    status, lines = doctor(capsys)
    assert status == 1
    assert lines["results"].startswith("FIX ")
    assert "set NBKIT_RESULTS to another folder" in lines["results"]


def test_the_doctor_leaves_no_trace(sandbox, capsys):
    doctor(capsys)
    assert list(sandbox.iterdir()) == []
