"""The store of results: what it promises when files, disks and other writers misbehave."""

import contextlib
import dataclasses
import errno
import io
import json
import math
import os
import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sweep_fake
from sweep_fake import FakeRun

from nbkit import runs, sweep

pytestmark = pytest.mark.usefixtures("fake_experiment")

WAY_OUT = "NBKIT_RESULTS"


def compute(wanted, store) -> sweep.Report:
    return sweep.compute(wanted, store=store, engine="inline", show=lambda line: None)


def put(store, *seeds, **parameters) -> list[FakeRun]:
    """Store the results of some runs and return the runs."""
    made = [FakeRun(seed=seed, **parameters) for seed in seeds]
    for run in made:
        store.save(run, sweep_fake.result(run))
    return made


def files(root: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@contextlib.contextmanager
def file_limit(size: int):
    """Let no file of this process grow beyond ``size`` bytes: a real partial write, then an error.

    Python ignores SIGXFSZ, so the write fails as on a full disk.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def raising(number: int):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


# keys


def test_equal_runs_have_equal_keys():
    pairs = [
        (FakeRun(seed=3, share=0.5), FakeRun(share=0.5, seed=3)),
        (FakeRun(share=2), FakeRun(share=2.0)),
        (FakeRun(share=0.0), FakeRun(share=-0.0)),
        (FakeRun(share=0.1 + 0.2), FakeRun(share=0.30000000000000004)),
    ]
    for one, other in pairs:
        assert one == other
        assert one.key == other.key


def test_whole_number_becomes_the_float_that_is_meant():
    run = FakeRun(share=2)
    assert type(run.share) is float
    assert run.share == 2


@pytest.mark.parametrize(
    "metrics", [None, {}, {"last": {}}, {"last": {"ok": True}}, {"last": {"f1": "high"}}, 3]
)
def test_what_could_not_be_read_is_not_stored(store, metrics):
    with pytest.raises(ValueError, match="no numbers by criterion"):
        store.save(FakeRun(), {"metrics": metrics})
    assert not store.path(FakeRun()).exists()


def test_a_result_does_not_overwrite_what_it_is_the_result_of(store):
    made = sweep_fake.result(FakeRun()) | {"parameters": {"seed": 7}, "experiment": "other"}
    store.save(FakeRun(), made)
    assert store.load(FakeRun())["parameters"] == FakeRun().parameters


def test_every_parameter_changes_the_key():
    changed = {
        "seed": 1,
        "folder": "x",
        "act": "wait",
        "group": 1,
        "size": 2,
        "share": math.nextafter(1 / 3, 1),
        "flag": True,
    }
    assert changed.keys() == FakeRun().parameters.keys()
    keys = {FakeRun(**{name: value}).key for name, value in changed.items()}
    assert len(keys | {FakeRun().key}) == len(changed) + 1


def test_version_data_and_experiment_change_the_key(monkeypatch):
    run = FakeRun()
    before = run.key
    with monkeypatch.context() as patch:
        patch.setattr(FakeRun, "version", 2)
        assert run.key != before
    with monkeypatch.context() as patch:
        patch.setattr(FakeRun, "experiment", "moons")
        assert run.key != before
    with monkeypatch.context() as patch:
        patch.setitem(sweep_fake.FINGERPRINTS, "fake", "fake-data-2")
        assert run.key != before
    assert run.key == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", math.nan),
        ("share", -math.inf),
        ("share", "0.5"),
        ("share", True),
        ("share", None),
        ("share", np.float32(0.5)),
        ("seed", 1.0),
        ("seed", True),
        ("seed", -1),
        ("seed", np.float64(1)),
        ("flag", 1),
        ("folder", Path("x")),
        ("folder", ["x"]),
        ("group", {"a": 1}),
    ],
)
def test_value_of_another_kind_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=name):
        FakeRun(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("share", np.float64(0.3)), ("seed", np.int64(1)), ("flag", np.True_)]
)
def test_a_number_of_numpy_makes_the_run_of_its_value(name, value):
    run, plain = FakeRun(**{name: value}), FakeRun(**{name: value.item()})
    assert (run, run.key) == (plain, plain.key)
    assert type(getattr(run, name)) is type(value.item())


@pytest.mark.parametrize(
    ("kind", "value"), [(tuple, (8, 8)), (list, [8]), (dict, {}), (int | None, None), (complex, 1j)]
)
def test_run_with_a_parameter_that_is_no_scalar_is_refused(kind, value):
    odd = dataclasses.make_dataclass(
        "Odd", [("layers", kind)], bases=(runs.Run,), frozen=True, kw_only=True
    )
    with pytest.raises(ValueError, match="layers"):
        odd(layers=value)


# round trips


def test_parameters_come_back_exactly(store):
    for share in (1 / 3, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, math.pi * 1e-7):
        run = FakeRun(share=share, folder='é "quoted"\n\\ \udce9', flag=True)
        store.save(run, sweep_fake.result(run))
        back = store.load(run)["parameters"]
        assert back == run.parameters
        assert FakeRun(**back).key == run.key


def test_result_comes_back_whatever_array_it_was_made_of(store):
    run = FakeRun()
    rows = [[1, 2], [3, 4]]
    store.save(
        run,
        {
            "metrics": {"last": {"score": np.float32(0.5), "epoch": np.int64(7)}},
            "confusion": np.array(rows),
            "curves": {"loss": (1.0, np.float64(2.0))},
        },
    )
    record = store.load(run)
    assert record["metrics"] == {"last": {"score": 0.5, "epoch": 7}}
    assert record["confusion"] == rows
    assert record["curves"] == {"loss": [1.0, 2.0]}


def test_frame_has_a_row_for_each_run_and_criterion(store):
    made = put(store, 0, 1, 2, size=5)
    frame = store.frame(made)
    assert list(frame) == ["key", "data", *FakeRun().parameters, "criterion", "score"]
    assert list(zip(frame.seed, frame.criterion, strict=True)) == [
        (seed, criterion) for seed in range(3) for criterion in ("last", "best")
    ]
    assert frame.score.tolist() == pytest.approx(
        [share for seed in range(3) for share in ((seed + 1) / 7, (seed + 1) / 3)], rel=1e-5
    )


def test_frame_is_sorted_by_parameters_whoever_asks(store):
    made = put(store, 11, 2, 30, 1, size=3) + put(store, 4, size=2)
    by_runs = store.frame(made)
    assert by_runs.seed.tolist() == [1, 1, 2, 2, 4, 4, 11, 11, 30, 30]
    pd.testing.assert_frame_equal(by_runs, store.frame(reversed(made)), check_exact=True)
    pd.testing.assert_frame_equal(by_runs, store.frame("fake"), check_exact=True)


def test_frame_of_an_experiment_leaves_out_older_versions(store, monkeypatch):
    put(store, 0, 1)
    monkeypatch.setattr(FakeRun, "version", 2)
    (newer,) = put(store, 2)
    assert store.frame("fake").key.unique().tolist() == [newer.key]


def test_a_frame_of_nothing_has_its_columns(store):
    empty = store.frame("moons")
    assert empty.query("criterion == 'last'").empty
    assert not len(store.frame([]))


def test_frame_of_a_grid_has_its_order_and_a_row_for_what_is_unfinished(store, monkeypatch):
    monkeypatch.setattr(FakeRun, "score_names", ("never",))
    (done,) = put(store, 1)
    frame = store.grid_frame({("b", 0): FakeRun(), ("a", 1): done, ("c", 2): done}, ("row", "n"))
    assert list(frame) == ["row", "n", "key", "device", "criterion", "never", "score"]
    assert frame[["row", "n", "criterion"]].to_numpy().tolist() == [
        ["b", 0, "last"],
        *(["a", 1, "last"], ["a", 1, "best"]),
        *(["c", 2, "last"], ["c", 2, "best"]),
    ]
    assert frame["score"].isna().tolist() == [True, False, False, False, False]
    assert frame["key"].tolist() == [FakeRun().key, *[done.key] * 4]


def test_data_that_changed_while_it_was_trained_on_fail_the_run(store, monkeypatch):
    run = FakeRun()
    (outcome,) = sweep.train_stack([run], "cpu")
    monkeypatch.setitem(sweep_fake.FINGERPRINTS, "fake", "fake-data-2")
    with pytest.raises(ValueError, match=r"trained on fake-data-1, and here .* fake-data-2"):
        store.save(run, outcome)
    assert files(store.root) == {}


def test_frame_of_a_missing_run_is_an_error_that_names_it(store):
    put(store, 0)
    absent = FakeRun(seed=1)
    with pytest.raises(runs.StoreError, match=absent.key):
        store.frame([FakeRun(seed=0), absent])


def test_first_result_stays(store):
    (run,) = put(store, 0)
    before = files(store.root)
    store.save(run, {"metrics": {"last": {"score": 99}}})
    assert files(store.root) == before


# broken files


def truncated(text: str) -> bytes:
    return text[: len(text) // 2].encode()


BROKEN = {
    "truncated": truncated,
    "empty": lambda text: b"",
    "binary": lambda text: b"\x89PNG\xff\xfe\x00" + text.encode(),
    "number": lambda text: b"3\n",
    "list": lambda text: f"[{text}]".encode(),
    "other object": lambda text: b'{"name": "package", "version": "1"}',
    "no metrics": lambda text: json.dumps({**json.loads(text), "metrics": None}).encode(),
    "flat metrics": lambda text: json.dumps({**json.loads(text), "metrics": {"a": 1}}).encode(),
    "other parameters": lambda text: text.replace('"seed": 1', '"seed": 2').encode(),
    "other version": lambda text: text.replace('"version": 1', '"version": 2').encode(),
    "other data": lambda text: text.replace("fake-data-1", "fake-data-0").encode(),
    "other experiment": lambda text: text.replace(
        '"experiment": "fake"', '"experiment": "f"'
    ).encode(),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_file_is_named_set_aside_and_computed_again(store, tmp_path, how):
    made = put(store, 0, 1, 2, folder=str(tmp_path))
    path, whole = store.path(made[1]), store.path(made[1]).read_text()
    content = BROKEN[how](whole)
    assert content != whole.encode()
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=path.name) as caught:
        report = compute(made, store)
    assert len(caught) == 1
    assert (report.found, report.computed) == (2, 1)
    assert sweep_fake.computed(tmp_path) == [1]
    bad = path.with_name(f"{path.name}.bad")
    assert bad.read_bytes() == content
    assert store.load(made[1])["metrics"] == json.loads(whole)["metrics"]


@pytest.mark.parametrize("how", BROKEN)
def test_frame_of_an_experiment_leaves_out_a_broken_file_with_a_warning(store, how):
    made = put(store, 0, 1)
    path = store.path(made[1])
    path.write_bytes(BROKEN[how](path.read_text()))
    with pytest.warns(UserWarning, match=path.name):
        frame = store.frame("fake")
    assert set(frame.key) == {made[0].key}


def test_a_file_that_is_not_named_as_a_run_is_left_alone(store, recwarn):
    (run,) = put(store, 0)
    notes = store.path(run).with_name("notes.json")
    notes.write_text("{}")
    assert set(store.frame("fake").key) == {run.key}
    assert notes.exists()
    assert not recwarn


@pytest.mark.parametrize("name", ["..", ".", "", "fake/errors", "/tmp"])
def test_a_frame_is_of_an_experiment_of_the_store(store, name):
    put(store, 0)
    with pytest.raises(ValueError, match="experiment must be one of"):
        store.frame(name)


def test_two_readers_may_set_the_same_file_aside(store, monkeypatch):
    (run,) = put(store, 0)
    path = store.path(run)
    path.write_text("")
    replace = Path.replace

    def slower(self, target):
        replace(self, target)  # the other reader
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", slower)
    with pytest.warns(UserWarning, match=path.name):
        assert store.load(run) is None
    assert path.with_name(f"{path.name}.bad").exists()


def test_nothing_is_stored_of_a_result_with_a_number_that_is_none(store):
    put(store, 0)
    before = files(store.root)
    for bad in (math.nan, math.inf, np.float32("nan"), np.array([1.0, math.nan])):
        run = FakeRun(seed=1)
        with pytest.raises(ValueError, match=r"metrics.last.accuracy"):
            store.save(run, {"metrics": {"last": {"loss": 1.0, "accuracy": bad}}})
        assert store.load(run) is None
    assert files(store.root) == before


# two writers


@pytest.mark.xdist_group("sweep")
@pytest.mark.parametrize(("way", "rounds"), [("save", 25), ("compute", 10)])
def test_two_processes_with_one_run_leave_one_whole_file(store, way, rounds):
    context = sweep_fake.warm()
    barrier = context.Barrier(2)
    arguments = (str(store.root), rounds, barrier, way)
    pair = [context.Process(target=sweep_fake.save_together, args=arguments) for _ in range(2)]
    for process in pair:
        process.start()
    for process in pair:
        process.join(90)
    assert [process.exitcode for process in pair] == [0, 0]
    made = [FakeRun(seed=seed, size=20_000) for seed in range(rounds)]
    assert set(files(store.root)) == {f"fake/{run.key}.json" for run in made}
    for run in made:
        record = store.load(run)
        assert record["metrics"]["best"]["score"] == pytest.approx((run.seed + 1) / 3, rel=1e-5)
        assert len(record["curve"]) == run.size


def test_writers_with_the_same_process_number_do_not_meet(store, monkeypatch):
    run = FakeRun()
    sync, calls = os.fsync, []

    def other_writer(descriptor):
        if not calls:
            calls.append(1)
            store.save(run, {**sweep_fake.result(run), "writer": "inner"})
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", other_writer)
    store.save(run, {**sweep_fake.result(run), "writer": "outer"})
    assert store.load(run)["writer"] == "inner"
    assert set(files(store.root)) == {f"fake/{run.key}.json"}


# full and read-only disks


def test_full_disk_ends_a_sweep_with_one_error_and_keeps_what_was_stored(store):
    small = [FakeRun(seed=seed, group=seed) for seed in range(3)]
    large = FakeRun(seed=3, group=3, size=20_000)
    with file_limit(4096), pytest.raises(runs.StoreError, match=WAY_OUT) as caught:
        compute([*small, large], store)
    assert str(store.path(large)) in str(caught.value)
    assert set(files(store.root)) == {f"fake/{run.key}.json" for run in small}
    report = compute([*small, large], store)
    assert (report.found, report.computed) == (3, 1)


def test_full_disk_for_a_traceback_leaves_no_part_of_it(store):
    run = FakeRun()
    with file_limit(100), pytest.raises(runs.StoreError, match=WAY_OUT):
        store.save_error(run, "x" * 1000)
    assert files(store.root) == {}


FAULTS = {
    "full at sync": (os, "fsync", errno.ENOSPC),
    "quota at sync": (os, "fsync", errno.EDQUOT),
    "input/output at sync": (os, "fsync", errno.EIO),
    "read-only at link": (os, "link", errno.EROFS),
    "read-only at open": (io, "open", errno.EROFS),
    "read-only at mkdir": (os, "mkdir", errno.EROFS),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_refused_write_is_one_error_that_names_file_and_way_out(store, monkeypatch, fault):
    module, name, number = FAULTS[fault]
    made = [] if name == "mkdir" else put(store, 0)
    before, run = files(store.root), FakeRun(seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(module, name, raising(number))
        with pytest.raises(runs.StoreError, match=WAY_OUT) as caught:
            store.save(run, sweep_fake.result(run))
    assert str(store.path(run)) in str(caught.value)
    assert os.strerror(number) in str(caught.value)
    assert files(store.root) == before
    assert all(store.load(old) for old in made)


def test_file_where_the_store_should_be_is_named_with_the_way_out(tmp_path):
    store = runs.Store(tmp_path / "results")
    store.root.write_text("not a folder")
    run = FakeRun()
    for attempt in (
        lambda: store.save(run, sweep_fake.result(run)),
        lambda: store.save_error(run, "text"),
        lambda: compute([run], store),
    ):
        with pytest.raises(runs.StoreError, match=WAY_OUT) as caught:
            attempt()
        assert str(store.root) in str(caught.value)
    assert store.root.read_text() == "not a folder"


def test_old_traceback_that_cannot_be_replaced_is_a_store_error(store, monkeypatch):
    run = FakeRun()
    store.save_error(run, "first")
    monkeypatch.setattr(os, "unlink", raising(errno.EROFS))
    with pytest.raises(runs.StoreError, match=WAY_OUT):
        store.save_error(run, "second")


def test_traceback_with_any_text_can_be_kept(store):
    path = store.save_error(FakeRun(), "caf\udce9 → ü")
    assert "→ ü" in path.read_text(encoding="utf-8")


def test_new_traceback_replaces_the_old_and_a_result_removes_it(store):
    run = FakeRun(act="raise")
    store.save_error(run, "first reason")
    path = store.save_error(run, "second reason")
    assert "act = 'raise'" in path.read_text()
    assert "first" not in path.read_text()
    assert path.read_text().strip().endswith("second reason")
    store.save(run, sweep_fake.result(run))
    assert set(files(store.root)) == {f"fake/{run.key}.json"}
