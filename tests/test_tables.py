"""Tables of runs that may not be finished, and what is published beside them."""

from dataclasses import replace

import fake_cifar
import numpy as np
import pandas as pd
import pytest

from nbkit import paths, tables
from nbkit.experiments import cifar, scoring
from nbkit.experiments.classification import TABLE_ROWS
from nbkit.runs import Store


@pytest.fixture
def store(sandbox):
    """An empty store, without photographs."""
    return Store()


def table(store):
    return store.grid_frame(cifar.table("small"), ("row", "seed"))


def finish(store, wanted):
    grid = cifar.table("small")
    fake_cifar.write_results(store, [run for name, run in grid.items() if wanted(*name)])


def test_rows_without_a_finished_run_are_shown_as_missing(store):
    finish(store, lambda row, seed: row == "Weighted" and seed < 2)
    frame = table(store)
    last = frame[frame["criterion"] == "last"]
    shown = tables.printed(tables.summary(last, ["row"], scoring.MACRO))
    assert list(shown.index) == list(dict.fromkeys(frame["row"]))
    assert shown["n"].to_dict() == {row: 2 * (row == "Weighted") for row in shown.index}
    assert (shown.drop("Weighted")[list(scoring.MACRO)] == "–").all(axis=None)
    assert "±" in shown.loc["Weighted", "f1"]


def test_a_summary_of_several_criteria_is_refused(store):
    finish(store, lambda row, seed: row == "Weighted")
    frame = table(store)
    with pytest.raises(ValueError, match=r"take one, as frame\[frame\['criterion'\] == 'last'\]"):
        tables.summary(frame, ["row"], ["accuracy"])
    assert len(tables.summary(frame, ["row", "criterion"], ["accuracy"])) > 1


def test_a_frame_holds_what_the_store_holds(store):
    finish(store, lambda row, seed: seed == 1)
    frame = table(store).dropna(subset="accuracy").set_index(["row", "seed", "criterion"])
    for (row, seed), run in cifar.table("small").items():
        record = store.load(run)
        if seed == 1:
            for criterion, metrics in record["metrics"].items():
                assert frame.loc[(row, 1, criterion), "f1"] == metrics["f1"]
        else:
            assert record is None
    assert set(frame["device"]) == {"fake bf16"}


def test_one_run_has_no_deviation(store):
    finish(store, lambda row, seed: seed == 0)
    frame = table(store)
    shown = tables.printed(tables.summary(frame[frame["criterion"] == "last"], ["row"], ["f1"]))
    assert not shown["f1"].str.contains("±").any()
    assert (shown["n"] == 1).all()


@pytest.mark.parametrize("seeds", [0, 1, 3])
def test_a_caption_counts_the_runs(store, seeds):
    finish(store, lambda row, seed: seed < seeds)
    text = tables.caption(table(store), "last epoch", "nbkit sweep cifar", "nbkit sweep cifar")
    device = "fake bf16" if seeds else "nothing trained yet"
    done, all_of_them = seeds * len(TABLE_ROWS), len(cifar.table("small"))
    counted = f"{done} of {all_of_them} runs finished"
    assert text == f"{counted}; last epoch; {device}\nnbkit sweep cifar"


def test_a_caption_counts_a_run_of_two_rows_once(store):
    grid = cifar.figure("small")
    text = tables.caption(store.grid_frame(grid, ("row", "kept", "seed")), "", "")
    assert text.startswith(f"0 of {len(set(grid.values()))} runs")


def test_regret_is_the_oracle_s_score_minus_the_criterion_s(store):
    finish(store, lambda row, seed: seed < 2)
    frame = table(store)
    regret = tables.regret(frame, ["row", "seed"])
    assert len(regret) == len(cifar.table("small"))
    done = regret.dropna()
    assert len(done) == 2 * len(TABLE_ROWS)
    for _, part in done.iterrows():
        metrics = store.load(cifar.table("small")[part["row"], part["seed"]])["metrics"]
        oracle = metrics["oracle"]["accuracy"]
        assert part["pu_auc"] == pytest.approx(oracle - metrics["pu_auc"]["accuracy"])
        assert part["peeking"] == pytest.approx(metrics["test"]["accuracy"] - oracle)
    one = frame[frame["seed"] == 0]
    alone, both = tables.regret(one, ["row"]), tables.regret(one, ["row", "seed"])
    pd.testing.assert_frame_equal(alone, both.drop(columns="seed"))


def test_a_published_mean_brings_its_own_deviation():
    frame = pd.DataFrame(
        {"row": ["A", "B"], "accuracy": [0.87, 0.74], "accuracy_std": [0.01, None]}
    )
    shown = tables.printed(tables.summary(frame, ["row"], ["accuracy"]))
    assert shown["accuracy"].tolist() == ["0.870 ± 0.010", "0.740"]


def test_sources_stand_beside_each_other_row_by_row():
    ours = pd.DataFrame({"row": ["A", "A", "B"], "f1": [0.1, 0.2, np.nan]})
    theirs = pd.DataFrame({"row": ["B"], "f1": [0.5]})
    shown = tables.beside({"ours": ours, "theirs": theirs}, ["B", "A"], ["f1"])
    assert shown["f1"].tolist() == ["–", "0.500", "0.150 ± 0.071", "–"]
    assert shown["n"].tolist() == [0, 1, 2, 0]


def test_what_is_called_positive_is_a_mean_over_seeds(store):
    finish(store, lambda row, seed: row == "Weighted" and seed < 2)
    rates = scoring.called_positive(store, cifar.table("small"))
    runs = [cifar.table("small")["Weighted", seed] for seed in (0, 1)]
    records = [store.load(run)["called_positive"] for run in runs]
    for name in ("bus", "thing_7"):
        assert rates.loc[name, "Weighted"] == pytest.approx(np.mean([r[name] for r in records]))
    assert rates.drop(columns="Weighted").isna().all(axis=None)
    assert rates["Weighted"].is_monotonic_decreasing


def test_false_positives_are_those_of_the_first_run_of_a_row_that_names_some(store):
    grid = cifar.table("small")
    for (row, seed), run in grid.items():
        result = fake_cifar.made_up(run) | {"false_positives": [[seed, 1, 0.9], [7, 2, 0.8]]}
        if row == "Weighted" and seed == 0:
            del result["false_positives"]  # stored before results named images
        if row == "Weighted" or seed > 2:
            store.save(run, result)
    found = scoring.false_positives(store, grid)
    first = found.groupby("row", sort=False).first()
    assert first["seed"].to_dict() == {row: 1 if row == "Weighted" else 3 for row, _ in grid}
    assert (first["image"] == first["seed"]).all()
    assert len(found) == 2 * len(first)


def test_a_wide_table_refuses_two_values_of_one_cell():
    index = pd.MultiIndex.from_tuples([("a", 1), ("a", 1)], names=["row", "kept"])
    with pytest.raises(ValueError, match="duplicate"):
        tables.wide(pd.Series([1.0, 5.0], index))


def test_an_empty_variable_exports_nothing(monkeypatch):
    monkeypatch.setenv("NBKIT_FIGURES", "")
    assert tables.save(pd.DataFrame({"a": [1]}), "never") is None
    assert not (paths.ROOT / "figures" / "never.csv").exists()


def test_a_wide_table_keeps_what_has_no_value():
    index = pd.MultiIndex.from_product([["b", "a"], [0.5, 0.1]], names=["row", "kept"])
    table = tables.wide(pd.Series([1.0, np.nan, np.nan, np.nan], index))
    assert table.index.tolist() == ["b", "a"]
    assert table.columns.tolist() == [0.5, 0.1]
    assert table.loc["b", 0.5] == 1
    assert table.isna().sum(axis=None) == 3


def test_the_reliability_of_a_row_pools_its_runs(store):
    finish(store, lambda row, seed: row == "Weighted" and seed < 2)
    lines = scoring.reliability(store, cifar.table("small"))
    records = [store.load(cifar.table("small")["Weighted", seed]) for seed in (0, 1)]
    bins = np.array([record["reliability"] for record in records])
    assert (lines["row"] == "Weighted").all()
    assert len(lines) == 14, "an empty bin has no line"
    assert lines["examples"].tolist() == bins[:, 1:, 0].sum(0).tolist()
    expected = (bins[..., 0] * bins[..., 2]).sum(0)[1:] / bins[..., 0].sum(0)[1:]
    np.testing.assert_allclose(lines["accuracy"], expected)
    np.testing.assert_allclose(lines["confidence"], bins[0, 1:, 1])


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_the_sweep_of_dropout_holds_the_table_and_differs_from_it_in_dropout_alone(preset):
    grid, table = cifar.dropout(preset), cifar.table(preset)
    for (row, rate, seed), run in grid.items():
        assert run == replace(table[row, seed], dropout=rate)
    for rate in (cifar.LESS_DROPOUT, cifar.DROPOUT):
        drawn = {(row, seed) for row, each, seed in grid if each == rate}
        assert drawn == {key for key in table if key[0] != "DropoutReg"}
    assert grid["CrossEntropy", cifar.MORE_DROPOUT, 0] == table["DropoutReg", 0]


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_the_sweep_of_lengths_holds_the_runs_of_the_table_and_differs_in_epochs_alone(preset):
    grid, table = cifar.length(preset), cifar.table(preset)
    usual = table["Exponential", 0].epochs
    for (row, epochs, seed), run in grid.items():
        assert run == replace(table[row, seed], epochs=epochs)
    assert {row for row, epochs, _ in grid if epochs == usual} == set(cifar.LENGTH_ROWS)
    assert max(epochs for _, epochs, _ in grid) == 4 * usual


def test_a_table_without_rows_becomes_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "figures").mkdir()
    path = tmp_path / "figures" / "one.csv"
    path.write_text("row,n\n")
    empty = tables.fill("a\n<!-- table: one -->\n<!-- end -->\nb")
    assert empty == f"a\n<!-- table: one -->\n{tables.UNFINISHED}\n<!-- end -->\nb"
    path.write_text("row,n\nA,2\n")
    assert "| A | 2 |" in tables.fill(empty)
    assert tables.UNFINISHED not in tables.fill(empty)


def test_the_author_s_logs_bear_out_the_draft():
    logs = tables.published("cifar_logs")
    half = logs[(logs["kept"] == 0.5) | (logs["row"] == "Complete")]
    means = half.groupby("row")["accuracy"].mean()
    draft = tables.published("table2").set_index("row")["accuracy"]
    assert (means - draft).abs().drop("BootstrapHard").max() < 0.02
    (first,) = half.loc[half["row"].eq("BootstrapHard") & half["round"].eq(1), "accuracy"]
    assert first == pytest.approx(draft["BootstrapHard"], abs=0.011)  # one run of three


def test_near_alarms_are_the_near_share_of_the_false_ones():
    true, near, far = 80, 15, 5
    precisions = {"": true / (true + near + far), "far_": true / (true + far)}
    frame = pd.DataFrame([{f"{name}detection_precision": p for name, p in precisions.items()}])
    assert scoring.near_alarms(frame).tolist() == pytest.approx([near / (near + far)])
