"""Sweeps under fire: killed, failing, out of memory, on every engine; and what they cost."""

import errno
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import tempfile
import time
import tracemalloc
import weakref
from types import SimpleNamespace

import pandas as pd
import pytest
import sweep_fake
import sweep_kills
import torch
from sweep_fake import FakeRun

from nbkit import losses, paths, progress, provenance, runs, sweep, train
from nbkit.experiments import moons
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.moons import MoonsRun

pytestmark = [
    pytest.mark.xdist_group("sweep"),  # one warm process and one killed sweep for all
    pytest.mark.usefixtures("fake_experiment"),
]

KILLS = 25
DIED = "worker process died"


@pytest.fixture
def warm(monkeypatch):
    """Let workers fork from a process that has imported everything: seconds less each."""
    context = sweep_fake.warm()
    monkeypatch.setattr(sweep.multiprocessing, "get_context", lambda method: context)


def compute(wanted, store, engine="inline", **options) -> sweep.Report:
    options = {"device": "cpu", "show": lambda line: None, **options}
    return sweep.compute(wanted, store=store, engine=engine, **options)


def small_grid() -> list[MoonsRun]:
    """Return runs of several stacks of unequal sizes."""
    return [
        MoonsRun(loss=loss, epochs=2, learning_rate=rate, kept=kept, seed=seed)
        for loss, rate in (("cross_entropy", 5e-3), ("cross_entropy", 1e-2), ("exponential", 5e-3))
        for kept in (0.5, 1.0)
        for seed in range(3)
        if (rate, kept, seed) != (1e-2, 1.0, 2)
    ]


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert len(one)
    pd.testing.assert_frame_equal(one, other, check_exact=True)


# kills


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Kill and resume a sweep; its store and what the killer saw."""
    folder = tmp_path_factory.mktemp("killed")
    root, answer = folder / "results", folder / "answer.json"
    arguments = (root, answer, 20170619, KILLS)
    killer = sweep_fake.warm().Process(target=sweep_kills.main, args=arguments)
    killer.start()
    killer.join(200)
    assert killer.exitcode == 0
    return runs.Store(root), json.loads(answer.read_text())


def test_killed_sweep_was_killed_as_often_as_wanted_and_then_finished(killed):
    _, told = killed
    assert told["kills"] == KILLS
    assert told["status"] == 0
    assert sum(told["grown"]) + told["last"] == told["total"]
    assert sum(told["grown"]) > 0
    assert told["last"] > 0


def test_killed_sweep_loses_and_changes_no_result(killed):
    _, told = killed
    assert told["lost"] == []
    assert told["changed"] == []


def test_killed_sweep_repeats_no_finished_run(killed):
    assert killed[1]["repeated"] == []


def test_killed_sweep_leaves_no_worker_behind(killed):
    assert killed[1]["orphans"] == 0


def test_killed_sweep_ends_in_the_results_of_an_undisturbed_one(killed, store):
    wanted = sweep_kills.grid()
    compute(wanted, store)
    same(killed[0].frame(wanted), store.frame(wanted))
    same(killed[0].frame("moons"), store.frame("moons"))


# failing runs


def test_diverging_run_fails_alone_and_names_a_lower_learning_rate(store):
    wild = MoonsRun(epochs=2, learning_rate=1e30)
    others = [MoonsRun(epochs=2, seed=seed) for seed in range(2)]
    with pytest.raises(sweep.SweepError, match="lower learning rate") as caught:
        compute([wild, *others], store)
    assert "1 of 3" in str(caught.value)
    assert store.missing([wild, *others]) == [wild]


def test_diverging_network_of_a_stack_leaves_its_neighbours_their_numbers(store, tmp_path):
    wild = MoonsRun(epochs=2, weight_ratio=3e38, seed=1)
    others = [MoonsRun(epochs=2, seed=seed) for seed in (0, 2)]
    assert list(sweep.batches([wild, *others])) == [[wild, *others]]
    with pytest.raises(sweep.SweepError):
        compute([others[0], wild, others[1]], store)
    calm = runs.Store(tmp_path / "calm")
    compute(others, calm)
    same(store.frame("moons"), calm.frame("moons"))


def test_loss_that_raises_fails_its_runs_only_and_once_cured_they_alone_run(store, monkeypatch):
    wanted = small_grid()
    guilty = [run for run in wanted if run.loss == "exponential"]
    kind = type(losses.build("exponential", kept=0.5, prior=0.5, num_classes=2))

    def explode(*args):
        raise ArithmeticError("the loss exploded")

    with monkeypatch.context() as patch:
        patch.setattr(kind, "stacked", explode)
        with pytest.raises(sweep.SweepError) as caught:
            compute(wanted, store)
    assert store.missing(wanted) == guilty
    message = str(caught.value)
    for run in guilty:
        text = store.error_path(run).read_text()
        assert all(f"{name} = {value!r}\n" in text for name, value in run.parameters.items())
        assert "Traceback" in text
        assert "ArithmeticError: the loss exploded" in text
    named = ", ".join(f"{name}={value!r}" for name, value in guilty[0].parameters.items())
    assert f"moons({named}) and {len(guilty) - 1} more: ArithmeticError: the loss" in message
    assert str(store.error_path(guilty[0])) in message
    assert message.count("ArithmeticError: the loss exploded") == 1
    report = compute(wanted, store)
    assert (report.found, report.computed) == (len(wanted) - len(guilty), len(guilty))
    assert not any(store.error_path(run).exists() for run in wanted)


@pytest.mark.parametrize("act", ["raise", "return", "nan"])
def test_failing_run_of_a_stack_fails_alone(store, tmp_path, act):
    wanted = [FakeRun(seed=seed, folder=str(tmp_path)) for seed in range(3)]
    bad = FakeRun(seed=3, folder=str(tmp_path), act=act)
    with pytest.raises(sweep.SweepError, match=f"act='{act}'") as caught:
        compute([wanted[0], bad, *wanted[1:]], store)
    assert "1 of 4" in str(caught.value)
    assert store.missing([bad, *wanted]) == [bad]
    assert f"act = '{act}'" in store.error_path(bad).read_text()
    assert "Traceback" in store.error_path(bad).read_text() or act == "return"


@pytest.mark.parametrize("engine", sweep.ENGINES)
def test_data_that_are_missing_are_looked_for_once_and_nothing_is_trained(
    store, monkeypatch, engine
):
    looked = []

    def check_data(run):
        looked.append(run)
        raise RuntimeError("the photographs are missing:\nfetch them with\n  nbkit data fetch")

    monkeypatch.setattr(FakeRun, "check_data", check_data)
    with pytest.raises(sweep.SweepError) as caught:
        compute([FakeRun(seed=seed, group=seed) for seed in range(20)], store, engine)
    assert len(looked) == 1
    told = str(caught.value)
    assert re.search(r"\) and 19 more: RuntimeError: the photographs are missing:\n", told)
    assert "nbkit data fetch [" in told
    assert len(told.splitlines()) == 4


def test_a_folder_of_checkpoints_that_cannot_be_written_stops_a_sweep_at_once(
    store, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NBKIT_RUNS", str(tmp_path / "file" / "runs"))
    with pytest.raises(runs.StoreError, match=r"cannot write to .*set NBKIT_RUNS"):
        compute([FakeRun(folder=str(tmp_path))], store)
    assert not sweep_fake.computed(tmp_path)


def test_a_failed_stack_is_let_go_before_its_runs_are_trained_alone(monkeypatch):
    """Or what it held of a card would be missing there."""
    held = []

    def out_of_memory(stack, device):
        if len(stack) > 1:
            network = torch.nn.Linear(2, 2)
            held.append(weakref.ref(network))
            raise torch.OutOfMemoryError(f"no memory for {network}")
        assert held[0]() is None
        return [sweep_fake.result(run) for run in stack]

    monkeypatch.setattr(sweep_fake, "compute", out_of_memory)
    outcomes = sweep.train_stack([FakeRun(seed=seed) for seed in range(2)], "cpu")
    assert all(isinstance(outcome, dict) for outcome in outcomes), outcomes


def test_a_long_list_of_failures_is_cut_short_in_the_message_but_not_on_disk(store):
    wanted = [FakeRun(seed=seed, act="raise") for seed in range(30)]
    with pytest.raises(sweep.SweepError, match="30 of 30") as caught:
        compute(wanted, store)
    assert len(str(caught.value).splitlines()) < 15
    assert all(store.error_path(run).exists() for run in wanted)


@pytest.mark.usefixtures("warm")
def test_run_that_kills_its_worker_fails_alone_and_once_cured_it_alone_runs(store, tmp_path):
    wanted = [FakeRun(seed=seed, group=seed // 3, folder=str(tmp_path)) for seed in range(12)]
    wanted[4] = bad = FakeRun(seed=4, group=1, folder=str(tmp_path), act="die")
    with pytest.raises(sweep.SweepError, match="act='die'") as caught:
        compute(wanted, store, "processes", workers=2)
    assert "1 of 12" in str(caught.value)
    assert store.missing(wanted) == [bad]
    assert DIED in store.error_path(bad).read_text()
    assert "seed = 4" in store.error_path(bad).read_text()
    sweep_fake.computed(tmp_path)
    (tmp_path / "cured").touch()
    report = compute(wanted, store, "processes", workers=2)
    assert (report.found, report.computed) == (11, 1)
    assert sweep_fake.computed(tmp_path) == [4]
    assert not store.error_path(bad).exists()


@pytest.mark.usefixtures("warm")
def test_worker_that_dies_between_two_stacks_loses_none(store):
    wanted, killed = [FakeRun(seed=seed, group=seed) for seed in range(5)], []

    def show(line):
        for process in multiprocessing.active_children():
            if line.startswith("2/"):
                process.kill()
                killed.append(process.pid)
        time.sleep(0.3)  # the pool notices

    report = compute(wanted, store, "processes", workers=1, show=show)
    assert killed
    assert report.computed == 5
    assert store.missing(wanted) == []


@pytest.mark.usefixtures("warm")
def test_sweep_that_cannot_store_stops_its_workers_at_once(store, monkeypatch):
    def save(run, result):
        raise runs.StoreError("the disk is full")

    monkeypatch.setattr(store, "save", save)
    wanted = [FakeRun(seed=seed, group=seed, act="wait") for seed in range(6)]
    with pytest.raises(runs.StoreError) as caught:
        compute(wanted, store, "processes", workers=2)
    assert caught.tb is not None  # what a notebook keeps too
    assert multiprocessing.active_children() == []


# engines


@pytest.mark.usefixtures("warm")
def test_processes_give_the_numbers_of_this_process(store, tmp_path):
    wanted = small_grid()
    compute(wanted, store)
    other = runs.Store(tmp_path / "other")
    compute(wanted, other, "processes", workers=2)
    same(other.frame("moons"), store.frame("moons"))


def test_workers_start_as_fresh_interpreters(store, tmp_path):
    wanted = [FakeRun(seed=seed, group=seed, size=3) for seed in range(2)]
    compute(wanted, store, "processes", workers=1)
    other = runs.Store(tmp_path / "other")
    compute(wanted, other)
    same(other.frame("fake"), store.frame("fake"))


def test_dask_gives_the_same_numbers_though_a_worker_is_killed(store, tmp_path):
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    sweep_fake.warm()
    wanted = [
        MoonsRun(epochs=4, learning_rate=1e-3 * (1 + i), seed=seed)
        for i in range(40)
        for seed in range(2)
    ]
    compute(wanted, store)
    other, killed = runs.Store(tmp_path / "other"), []
    quick = {"distributed.worker.multiprocessing-method": "forkserver"}
    with (
        dask.config.set(quick),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):

        def show(line):
            if not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        report = compute(wanted, other, cluster.scheduler_address, show=show)
    assert killed
    assert report.computed == len(wanted)
    same(other.frame(wanted), store.frame(wanted))


def test_a_worker_of_a_cluster_discards_the_checkpoints_of_what_is_stored(store, tmp_path):
    dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
    sweep_fake.warm()
    wanted = [FakeRun(folder=str(tmp_path)), FakeRun(act="return", group=1)]
    folder = tmp_path / "of the worker"
    left, kept = (folder / "checkpoints" / f"{run.key}.pt" for run in wanted)
    left.parent.mkdir(parents=True)
    for path in (left, kept):
        path.write_bytes(b"half a training")
    with (
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
            env={"NBKIT_RUNS": str(folder)},
        ) as cluster,
    ):
        with pytest.raises(sweep.SweepError, match="1 of 2"):
            compute(wanted, store, cluster.scheduler_address)
        deadline = time.monotonic() + 20
        while left.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    assert kept.exists()
    assert not left.exists()


def test_a_checkpoint_that_others_need_stays(store, tmp_path, monkeypatch):
    """As that of a pre-training which several fine-tunings share."""
    monkeypatch.setenv("NBKIT_RUNS", str(tmp_path))
    monkeypatch.setattr(FakeRun, "checkpoints", lambda run: (run.key, "shared"))
    left = paths.checkpoint("shared")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a training")
    bad = FakeRun(folder=str(tmp_path), act="raise", group=1)
    wanted = [FakeRun(), bad, FakeRun(seed=1, group=2)]
    with pytest.raises(sweep.SweepError, match="1 of 3"):
        compute(wanted, store)
    assert left.exists()
    (tmp_path / "cured").touch()
    compute(wanted, store)
    assert not left.exists()


def test_workers_are_refused_where_they_are_not_ours(store):
    with pytest.raises(ValueError, match=r"workers is for engine='processes', got .*inline"):
        compute([FakeRun()], store, workers=2)


@pytest.mark.parametrize(
    "runs",
    [FakeRun(), {("row", 0): FakeRun()}, [[FakeRun()]], "moons", None],
    ids=lambda runs: repr(runs)[:9],
)
def test_what_are_no_runs_is_refused(store, runs):
    with pytest.raises(ValueError, match=r"of a grid grid.values\(\), of a single run \[run\]"):
        compute(runs, store)


def test_a_path_is_no_store(tmp_path):
    with pytest.raises(ValueError, match="store must be a Store"):
        sweep.compute([FakeRun()], store=str(tmp_path))


@pytest.mark.parametrize("size", [1, 2, 5, 17])
def test_network_does_not_depend_on_its_stack(size):
    run = MoonsRun(epochs=2, seed=7, kept=0.3)
    stack = [
        MoonsRun(epochs=2, seed=i % 5, kept=1 / (1 + i % 3), weight_ratio=1 + i, noise=0.1 * i)
        for i in range(size - 1)
    ]
    assert list(sweep.batches([run, *stack, run])) == [[run, *stack, run]]
    alone = moons.fit([run])
    for place in {0, size // 2, size - 1}:
        trained = moons.fit([*stack[:place], run, *stack[place:]])
        for one, many in zip(alone.model.parameters(), trained.model.parameters(), strict=True):
            assert torch.equal(one[0], many[place])


# arguments


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("engine", "threads"),
        ("engine", ""),
        ("engine", None),
        ("device", "tpu"),
        ("device", None),
        ("workers", 0),
        ("workers", -2),
        ("workers", 1.5),
        ("workers", True),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
def test_argument_outside_its_range_is_refused_whatever_is_stored(store, name, value, stored):
    run = FakeRun()
    if stored:
        store.save(run, sweep_fake.result(run))
    with pytest.raises(ValueError, match=name):
        compute([run], store, **{"engine": "processes", "workers": 1, name: value})


def test_each_worker_picks_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (done,), (failed,) = (sweep.train_stack([FakeRun()], kind) for kind in ("auto", "cuda"))
    assert done["provenance"]["device"] == "cpu"
    assert "PyTorch finds no GPU here" in failed


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 8}, raising=False)
    assert sweep.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert sweep.cores() == (os.cpu_count() or 1)


def test_moons_of_one_stack_are_trained_with_their_own_share_of_labels():
    kinds = [MoonsRun(loss=loss, kept=kept) for kept in (0.2, 0.5) for loss in ("forward", "gce")]
    stacks = {run.loss: [] for run in kinds}
    for stack in sweep.batches(kinds):
        stacks[stack[0].loss].append([run.kept for run in stack])
    assert stacks == {"forward": [[0.2], [0.5]], "gce": [[0.2, 0.5]]}


def test_missing_gpu_is_an_error_that_offers_the_cpu(store, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="use auto or cpu"):
        compute([FakeRun()], store, device="cuda")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "carrier-pigeon://127.0.0.1:8786"])
def test_scheduler_that_does_not_answer_is_named(store, monkeypatch, address):
    distributed = pytest.importorskip("distributed")
    client = distributed.Client
    monkeypatch.setattr("distributed.Client", lambda *args, timeout: client(*args, timeout=1))
    monkeypatch.setattr("dask.distributed.Client", distributed.Client)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=re.escape(address)):  # whose workers may have a GPU
        compute([FakeRun()], store, address, device="cuda")


# costs


def network_steps(wanted, store, monkeypatch) -> int:
    """Compute runs and return how many steps their networks made, all together."""
    counted = []
    gather = train.gather

    def count(inputs, targets, index):
        counted.append(len(index))
        return gather(inputs, targets, index)

    with monkeypatch.context() as patch:
        patch.setattr(train, "gather", count)
        compute(wanted, store)
    return sum(counted)


def test_cost_grows_as_the_work_and_no_work_costs_nothing(tmp_path, monkeypatch):
    def repeated(times):
        return [
            MoonsRun(loss=loss, epochs=1, seed=seed)
            for loss in ("cross_entropy", "exponential")
            for seed in range(times)
        ]

    store = runs.Store(tmp_path / "results")
    once = network_steps(repeated(10), store, monkeypatch)
    twice = network_steps(repeated(20), runs.Store(tmp_path / "other"), monkeypatch)
    assert 0 < twice <= 2.1 * once
    assert network_steps(repeated(20), store, monkeypatch) <= 1.1 * once
    assert network_steps(repeated(20), store, monkeypatch) == 0


def test_run_asked_for_twice_is_computed_once(store, tmp_path):
    run = FakeRun(folder=str(tmp_path), share=1)
    report = compute([run, FakeRun(folder=str(tmp_path), share=1.0), run], store)
    assert (report.total, report.found, report.computed) == (1, 0, 1)
    assert sweep_fake.computed(tmp_path) == [0]


@pytest.mark.parametrize("stored", [False, True])
def test_memory_does_not_grow_with_the_finished_runs(tmp_path, stored):
    def peak(number):
        store = runs.Store(tmp_path / str(number))
        wanted = [FakeRun(seed=seed, group=seed, size=4_000) for seed in range(number)]
        if stored:
            compute(wanted, store)
        tracemalloc.start()
        try:
            compute(wanted, store)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    compute([FakeRun()], runs.Store(tmp_path / "imports"))
    assert peak(20) < 1.3 * peak(5)


# what it tells


@pytest.mark.parametrize("total", [1, 7, 37, 200])
def test_progress_is_a_few_lines_that_end_at_the_total(store, total):
    lines = []
    compute([FakeRun(seed=seed, group=seed) for seed in range(total)], store, show=lines.append)
    assert lines[0] == f"0/{total} runs"
    found = [re.fullmatch(rf"(\d+)/{total} runs, \d+ s left", line) for line in lines[1:]]
    assert all(found)
    done = [int(line[1]) for line in found]
    assert done == sorted(set(done))
    assert done[-1] == total
    assert len(done) <= min(10, total)


def test_a_store_that_cannot_be_written_is_told_before_anything_is_trained(store, monkeypatch):
    def refuse(**options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    lines = []
    with pytest.raises(runs.StoreError, match=r"cannot write to .*: Permission .*NBKIT_RESULTS"):
        compute([FakeRun()], store, show=lines.append)
    assert lines == []


def test_progress_is_told_at_every_run_when_runs_are_long(store, monkeypatch):
    monkeypatch.setattr(progress, "QUIET", -1)
    lines = []
    compute([FakeRun(seed=seed, group=seed) for seed in range(37)], store, show=lines.append)
    assert len(lines) == 38


def test_a_result_names_its_versions_its_chip_and_its_commit(store):
    run = MoonsRun(epochs=1)
    compute([run], store)
    told = store.load(run)["provenance"]
    assert {"torch", "numpy", "scikit-learn", "python", "chip", "commit", "device"} <= set(told)
    assert all(told.values())
    assert told["torch"] == torch.__version__.split("+")[0]


def test_the_commit_is_the_last_of_the_package_and_says_whether_it_was_changed(
    tmp_path, monkeypatch
):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)
        return done.stdout.decode().strip()

    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance._commit() == "unknown"
    git("init")
    for folder in ("nbkit", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("one")
        git("add", folder)
        git("commit", "-m", folder)
    first = git("log", "-1", "--format=%h", "HEAD~1")
    assert provenance._commit() == first
    (tmp_path / "other" / "file").write_text("two")
    assert provenance._commit() == first
    (tmp_path / "nbkit" / "file").write_text("two")
    assert provenance._commit() == f"{first}+"


def test_progress_counts_failures(store):
    lines = []
    wanted = [FakeRun(act="return"), FakeRun(seed=1)]
    with pytest.raises(sweep.SweepError):
        compute(wanted, store, show=lines.append)
    assert re.fullmatch(r"2/2 runs, 1 failed, 0 s left", lines[-1])


def test_progress_goes_to_stderr_by_default(store, capsys):
    compute([FakeRun()], store, show=None)
    told = capsys.readouterr()
    assert told.out == ""
    assert "1/1 runs" in told.err


def test_seconds_include_reading_the_store(store, monkeypatch):
    missing, clock = store.missing, [100.0]

    def slow(wanted):
        clock[0] += 5
        return missing(wanted)

    monkeypatch.setattr(store, "missing", slow)
    fake = SimpleNamespace(monotonic=lambda: clock[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(sweep, "time", fake)
    for _ in ("computed", "found"):
        assert compute([FakeRun()], store).seconds == 5


@pytest.mark.parametrize("loss", ["cross_entropy", "upu", "vpu", "dist_pu", "noise_layer"])
def test_a_run_left_alone_gets_the_bits_it_has_in_a_stack(loss):
    wanted = [ClassificationRun(loss=loss, seed=seed, epochs=4) for seed in range(3)]
    together = sweep.train_stack(wanted, "cpu")
    alone = sweep.train_stack(wanted[1:2], "cpu")
    assert alone[0]["curves"]["loss"].tolist() == together[1]["curves"]["loss"].tolist()
    assert alone[0]["metrics"] == together[1]["metrics"]
