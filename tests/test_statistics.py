"""Paired differences, their intervals, and Holm's correction, recomputed independently."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from nbkit import statistics


def rejected(p, alpha):
    """Holm's procedure as it is defined: step down until the first p that is too large."""
    order, found = np.argsort(p), np.zeros(len(p), dtype=bool)
    for step, i in enumerate(order):
        if p[i] > alpha / (len(p) - step):
            break
        found[i] = True
    return found


def test_holm_rejects_what_its_definition_rejects(rng):
    for size in (1, 2, 5, 20):
        p = rng.random(size) ** 3
        for alpha in (0.01, 0.05, 0.2):
            np.testing.assert_array_equal(statistics.holm(p) <= alpha, rejected(p, alpha))


def test_holm_does_not_count_what_was_not_tested():
    adjusted = statistics.holm(np.array([0.03, np.nan, 0.01]))
    np.testing.assert_allclose(adjusted, [0.03, np.nan, 0.02])


@pytest.mark.parametrize("p", [[-0.1], [0.5, 1.1]])
def test_holm_refuses_what_is_no_probability(p):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        statistics.holm(np.array(p))


def test_an_interval_is_that_of_scipy(rng):
    values = rng.normal(0.02, 0.03, 7)
    mean, low, high, p = statistics.interval(values, 0.9)
    test = stats.ttest_1samp(values, 0)
    wanted = test.confidence_interval(0.9)
    np.testing.assert_allclose(
        [mean, low, high, p], [values.mean(), wanted.low, wanted.high, test.pvalue]
    )


def test_contrasts_are_pairs_of_rows_corrected_together(rng):
    noise = rng.normal([0.5, 0.6, 0.52], 0.02, (6, 3))
    wide = pd.DataFrame(noise, columns=list("ABC")).rename_axis("seed").reset_index()
    long = wide.melt("seed", var_name="row")
    pairs = {"up": ("B", "A"), "down": ("A", "B"), "near": ("C", "A"), "not there": ("A", "D")}
    table = statistics.contrasts(long, pairs, by="row", value="value")
    assert table.index.tolist() == ["up", "down", "near"]
    tests = [
        stats.ttest_rel(wide[first], wide[second])
        for first, second in pairs.values()
        if second != "D"
    ]
    np.testing.assert_allclose(table["p"], [test.pvalue for test in tests])
    np.testing.assert_allclose(table["p_holm"], statistics.holm(table["p"].to_numpy()))
    assert table["difference"]["up"] == -table["difference"]["down"] > 0
    assert table["verdict"].tolist()[:2] == ["higher", "lower"]


def test_comparisons_of_several_tables_are_corrected_together(rng):
    tables = []
    for gap in (0.3, 0.03, 0.0):
        scores = pd.DataFrame(rng.normal(0.5, 0.02, (6, 3)), columns=list("ABC"))
        scores["B"] += gap
        long = scores.rename_axis("seed").reset_index().melt("seed", var_name="row")
        tables.append(statistics.paired(long, by="row", value="value", reference="A"))
    both = statistics.judged(pd.concat(tables))
    p = np.concatenate([table["p"] for table in tables])
    np.testing.assert_allclose(both["p_holm"], statistics.holm(p))
    sure = rejected(p, 0.05)
    assert 0 < sure.sum() < len(p)
    wanted = np.where(sure, np.where(both["difference"] > 0, "higher", "lower"), "not told apart")
    assert both["verdict"].tolist() == wanted.tolist()


def test_few_or_equal_values_give_no_warning_and_no_false_claim(recwarn):
    assert np.isnan(statistics.interval(np.array([]))).all()
    mean, *rest = statistics.interval(np.array([0.1]))
    assert mean == 0.1
    assert np.isnan(rest).all()
    assert statistics.interval(np.zeros(3))[3] == 1
    assert statistics.interval(np.full(3, 0.5))[3] == 0
    assert not recwarn.list


def scores():
    """Three rows: seed 2 of B is not finished, and C has a single run."""
    table = {"A": [0.5, 0.6, 0.4], "B": [0.7, 0.81, np.nan], "C": [0.1, np.nan, np.nan]}
    return pd.DataFrame(
        {"row": row, "seed": seed, "accuracy": value}
        for row, values in table.items()
        for seed, value in enumerate(values)
    )


def test_rows_are_compared_on_the_seeds_that_both_have():
    table = statistics.paired(scores(), by="row", value="accuracy", reference="A")
    assert list(table.index) == ["B", "C"]
    assert table["n"].tolist() == [2, 1]
    np.testing.assert_allclose(table["difference"], [0.205, -0.4])
    assert table.loc["B", "low"] < 0.205 < table.loc["B", "high"]
    assert table.loc["C", ["low", "high", "p", "p_holm"]].isna().all()
    assert table.loc["C", "verdict"] == "too few seeds"
    assert statistics.printed(table).loc["C", "interval"] == "–"


def test_verdicts_follow_the_corrected_p(rng):
    seeds = np.arange(8)
    shifts = {"base": 0, "up": 0.2, "down": -0.2, "same": 0}
    frame = pd.concat(
        pd.DataFrame({"row": row, "seed": seeds, "f1": rng.normal(shift, 0.02, 8)})
        for row, shift in shifts.items()
    )
    table = statistics.paired(frame, by="row", value="f1", reference="base")
    assert table["verdict"].tolist() == ["higher", "lower", "not told apart"]
    assert (table["p_holm"] >= table["p"]).all()


def test_a_comparison_of_nothing_finished_is_empty_of_numbers(recwarn):
    frame = scores().assign(accuracy=np.nan)
    table = statistics.paired(frame, by="row", value="accuracy", reference="A")
    assert (table["n"] == 0).all()
    assert set(table["verdict"]) == {"too few seeds"}
    assert (statistics.printed(table)[["difference", "interval", "p, Holm"]] == "–").all(axis=None)
    assert not recwarn.list


def test_a_unit_counts_once_however_many_pairs_it_has(rng):
    shifts = {0: 0.3, 1: 0.1, 2: -0.1}  # what a fold adds to a difference
    frame = pd.DataFrame(
        {
            "row": row,
            "fold": fold,
            "seed": seed,
            "f1": rng.normal(shifts[fold] * (row == "B"), 0.01),
        }
        for row in "AB"
        for fold in shifts
        for seed in range(4 if fold else 3)
    )
    options = {"by": "row", "value": "f1", "reference": "A", "pair": ("fold", "seed")}
    pairs, folds = (statistics.paired(frame, **options, unit=u).loc["B"] for u in (None, "fold"))
    mean = frame.groupby(["row", "fold"])["f1"].mean().unstack("row")
    expected = stats.ttest_rel(mean["B"], mean["A"])
    assert (pairs["n"], folds["n"]) == (11, 3)
    assert folds["difference"] == pytest.approx((mean["B"] - mean["A"]).mean())
    assert folds["p"] == pytest.approx(expected.pvalue)
    assert folds["high"] - folds["low"] > pairs["high"] - pairs["low"]


def test_a_reference_alone_is_compared_with_nothing():
    alone = scores().query("row == 'A'")
    table = statistics.paired(alone, by="row", value="accuracy", reference="A")
    assert table.empty
    assert statistics.printed(table).empty


def test_an_unknown_reference_is_refused():
    with pytest.raises(ValueError, match="'Z' is no row"):
        statistics.paired(scores(), by="row", value="accuracy", reference="Z")


def test_two_results_of_one_row_and_seed_are_refused():
    frame = pd.concat([scores(), scores().head(1)])
    with pytest.raises(ValueError, match=r"several runs have the same row, seed: take one"):
        statistics.paired(frame, by="row", value="accuracy", reference="A")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": "Row"}, "no column Row; there is row, seed, accuracy"),
        ({"value": "acc"}, "no column acc;"),
        ({"pair": "seed"}, r"pair must be a list of columns, got 'seed': write \['seed'\]"),
        ({"pair": ("fold", "seed")}, "no column fold;"),
        ({"unit": "fold"}, "unit must be one of seed; got 'fold'"),
    ],
)
def test_columns_that_the_frame_of_a_comparison_lacks_are_named(given, message):
    usual = {"by": "row", "value": "accuracy", "reference": "A"}
    with pytest.raises(ValueError, match=message):
        statistics.paired(scores(), **usual | given)


def test_levelling_takes_the_folds_out_and_nothing_else(rng):
    settings = pd.MultiIndex.from_product(
        [["A", "B", "C"], [1, 2], range(4)], names=["row", "fold", "seed"]
    )
    effect = settings.get_level_values("row").map({"A": 0.5, "B": 0.3, "C": 0.1})
    fold = settings.get_level_values("fold").map({1: -0.2, 2: 0.2})
    frame = settings.to_frame(index=False).assign(f1=effect + fold + rng.normal(0, 0.01, 24))
    level = statistics.levelled(frame, value="f1", group="fold", by=["row"])
    before, after = (one.groupby("row")["f1"].agg(["mean", "std"]) for one in (frame, level))
    np.testing.assert_allclose(after["mean"], before["mean"])
    assert (before["std"] > 0.15).all()
    assert (after["std"] < 0.02).all()
    unfinished = frame.assign(f1=frame["f1"].where((frame["row"] != "C") | (frame["fold"] == 1)))
    partly = statistics.levelled(unfinished, value="f1", group="fold", by=["row"])
    assert partly.groupby(["row", "fold"])["f1"].mean()["C", 1] == pytest.approx(0.1, abs=0.02)
    one = frame[frame["row"] == "A"]
    pd.testing.assert_frame_equal(
        statistics.levelled(one, value="f1", group="fold", by=["row"]), one
    )
    nothing = statistics.levelled(frame.assign(f1=np.nan), value="f1", group="fold", by=["row"])
    assert nothing["f1"].isna().all()


def test_levelling_leaves_the_spread_that_is_not_the_folds(rng):
    settings = pd.MultiIndex.from_product([range(3), range(4000)], names=["row", "fold"])
    noise, fold = rng.normal(0, 1, 12000), np.tile(rng.normal(0, 5, 4000), 3)
    frame = settings.to_frame(index=False).assign(f1=noise + fold)
    level = statistics.levelled(frame, value="f1", group="fold", by=["row"])
    assert level.groupby("row")["f1"].std().tolist() == pytest.approx([1, 1, 1], abs=0.03)
