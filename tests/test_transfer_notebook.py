"""What notebook 06 is made of: tables by fold, sentences, filters, and runs in all states."""

import itertools
import re

import fake_transfer
import numpy as np
import pandas as pd
import pytest
from conftest import folders
from test_notebooks import code, printed, run

from nbkit import fcn, figures, presets, statistics, tables
from nbkit.checks import VOID
from nbkit.exercises import transfer as exercises
from nbkit.experiments import pixels, pretraining, transfer
from nbkit.figures.transfer import tiles
from nbkit.runs import Store


@pytest.fixture
def store(sandbox):
    return Store()


def finish(store, preset, wanted):
    grid = transfer.grid(preset)
    runs = {run for name, run in grid.items() if wanted(*name)}
    fake_transfer.write_results(store, runs)
    return len(set(grid.values()) - runs)


# ---- the notebook on a sweep that has been stopped


@pytest.mark.xdist_group("transfer")
def test_the_notebook_shows_what_is_finished_and_trains_nothing(tmp_path):
    store = Store(tmp_path / "results")
    missing = finish(
        store,
        "laptop",
        lambda part, *name: (
            (part == "table" and (name[2] == 0 or name[0] == "FromScratch"))
            or (part == "rates" and name[0] == "missing")
        ),
    )
    finish(store, "small", lambda part, *name: part == "table" and name[1] < 3)
    before = sorted((tmp_path / "results").rglob("*"))
    done = run("06_transfer", tmp_path, {"engine": "inline"}, folders(tmp_path))
    assert sorted((tmp_path / "results").rglob("*")) == before
    said = "".join(printed(cell) for cell in code(done.notebook))
    assert f"{missing} of {len(set(transfer.grid('laptop').values()))} runs are missing" in said
    exported = {path.stem: pd.read_csv(path) for path in (tmp_path / "figures").glob("*.csv")}
    ours = exported["table1_scenes"].query("source == 'ours'").set_index("row")
    assert ours["n"].astype(int).to_dict() == {
        row: {"ImageNetModel": 0, "FromScratch": 12}.get(row, 4) for row in transfer.TABLE
    }
    assert "±" in ours.loc["FromScratch", "fold 1"]
    assert "±" not in ours.loc["RandomCategory", "fold 1"]
    apart = exported["table1_differences_scenes"].set_index("row")
    assert apart["n"].eq(4).all()
    assert "SingleCategory" not in apart.index
    assert exported["table1_msrc_finished"].set_index("row")["n"].eq(6).all()
    rates = exported["rates_scenes"].set_index("verb")
    assert (rates.loc["misannotated"] == "– (0)").all()
    struck = r"scenes, 90% of the instances struck:\n  missing: mean IU [\d.]+ below rate 0 \("
    assert re.search(rf"{struck}95 %.*2 pairs", said)
    assert "  misannotated: too few finished runs to compare with rate 0" in said


# ---- tables and sentences


def test_a_fold_has_its_mean_and_deviation_and_a_row_the_mean_of_its_folds():
    frame = pd.DataFrame(
        {
            "row": ["A", "A", "A", "B", "D"],
            "fold": [1, 1, 2, 1, 2],
            "mean_iu": [0.2, 0.4, 0.5, np.nan, 0.7],
        }
    )
    table = tables.by_fold(frame, ["B", "A", "C", "D"], [1, 2])
    assert table.loc["D"].tolist() == ["–", "0.700", "–", 1]  # a mean of all folds or none
    assert table.loc["A"].tolist() == ["0.300 ± 0.141", "0.500", "0.400", 3]
    assert table.loc["B"].tolist() == table.loc["C"].tolist() == ["–", "–", "–", 0]


def test_published_means_bring_their_deviation():
    draft = tables.published("table1").query("source == 'draft'")
    table = tables.by_fold(draft, ["RandomCategory"], [1, 2, 3, 4], digits=2)
    assert table.loc["RandomCategory", "fold 2"] == "0.33 ± 0.03"


def test_the_draft_s_single_category_is_a_copy_of_another_row():
    draft = tables.published("table1").query("source == 'draft'").set_index("row")
    columns = ["fold", "mean_iu", "mean_iu_std"]
    copy, row = (draft.loc[name, columns] for name in ("SingleCategory", "ImageNetModel"))
    assert copy.to_numpy().tolist() == row.to_numpy().tolist()


def test_a_sentence_says_side_size_interval_and_pairs():
    frame = pd.DataFrame(
        {
            "row": ["base", "up", "one"] * 3,
            "seed": [0, 0, 0, 1, 1, 1, 2, 2, 2],
            "score": [0.1, 0.3, 0.2, 0.2, 0.41, np.nan, 0.3, 0.49, np.nan],
        }
    )
    table = statistics.paired(frame, by="row", value="score", reference="base")
    up, one = statistics.told(table, "IU", "base")
    assert up.startswith("up: IU 0.200 above base (95 % interval +0.17")
    assert up.endswith("3 pairs): higher.")
    assert one == "one: too few finished runs to compare with base."


@pytest.mark.parametrize(
    ("level", "where"),
    [(0.25, 2.5), (0.3, 3.0), (0.1, 1.0), (0.6, np.nan), (0.05, -np.inf), (0.4, 5.5)],
)
def test_a_curve_crosses_a_level_where_it_first_gets_there(level, where):
    x, y = np.array([1.0, 3, 5, 6, 7]), np.array([0.1, 0.3, 0.3, 0.5, 0.2])
    found = statistics.crossing(x, y, level)
    assert found == pytest.approx(where, nan_ok=True)


def test_realised_shares_are_those_of_the_matrices(store):
    finish(store, "laptop", lambda part, *name: part == "rates" and name[2] == 1)
    grid = transfer.rates("laptop")
    shares = transfer.realised(store, grid).set_index(["verb", "rate"])
    rates = presets.sizes("laptop", "transfer")["rates"]
    assert set(shares.index) == set(itertools.product(pretraining.VERBS, rates))
    assert shares.loc[("missing", 0.25), ["right", "lost"]].tolist() == [0.75, 0.25]
    assert shares.loc[("misclassified", 0.9), ["right", "other"]].tolist() == [0.1, 0.9]
    assert shares.loc[("misannotated", 0.5), ["right", "invented"]].tolist() == [1, 0.5]


def test_curves_of_unfinished_runs_are_rows_of_nothing(store):
    finish(store, "laptop", lambda part, *name: part == "table" and name[2] == 0)
    names = ("row", "fold", "seed")
    curves = pixels.curves(store, transfer.table("laptop"), names)
    done = curves.dropna()
    assert set(done["seed"]) == {0}
    assert set(curves["seed"]) == {0, 1, 2}
    last = done.groupby(list(names))["mean_iu"].last()
    frame = store.grid_frame(transfer.table("laptop"), names).query("criterion == 'last'")
    assert set(last.index) == set(frame.dropna(subset="mean_iu").set_index(list(names)).index)


# ---- pictures


def test_tiles_hold_every_filter_stretched_and_apart():
    weights = np.random.default_rng(0).normal(size=(10, 3, 5, 5))
    sheet = tiles(weights)
    assert sheet.shape == (11, 47, 3)
    assert (sheet[5] == 1).all()
    assert (sheet[:, 5] == 1).all()
    ninth = sheet[6:11, :5]
    assert (ninth.min(), ninth.max()) == (0, 1)
    assert np.corrcoef(ninth.ravel(), weights[8].transpose(1, 2, 0).ravel())[0, 1] > 0.999


def test_a_filter_of_one_value_is_drawn():
    assert np.isfinite(tiles(np.zeros((1, 3, 5, 5)))).all()


def test_masks_are_tinted_by_class():
    masks = np.array([[0, 1, 2], [21, VOID, 300]])
    colors = figures.tinted(masks)
    assert colors.shape == (2, 3, 3)
    assert (colors[0, 0] == 0).all()
    assert (colors[1, 1] == 255).all()
    assert (colors[0, 1] == colors[1, 0]).all()
    assert (colors[0, 1] != colors[0, 2]).any()


def test_lines_draw_levels_to_compare_with():
    frame = pd.DataFrame({"x": [0, 1], "y": [0.1, 0.2], "by": "a"})
    labels = ("x", "y", "title")
    figure = figures.lines(frame, x="x", y="y", by="by", labels=labels, levels={"base": 0.15})
    _, names = figure.axes[0].get_legend_handles_labels()
    assert names == ["a", "base"]


# ---- exercises


def copied(model, state, layers, *, freeze=True, score=False):
    for name in [*layers, *(["score"] if score else [])]:
        layer = model.get_submodule(name)
        for kind in ("weight", "bias"):
            value = state[f"{name}.{kind}"]
            if value.shape == getattr(layer, kind).shape:
                getattr(layer, kind).data.copy_(value)
            getattr(layer, kind).requires_grad_(not freeze)
    return model


CHECKS = {
    "warm-up": (exercises.by_luck, 0.07, (1 / 14, 0.063, 0.5, 15, 1.5, "few"), ("15", "0.067")),
    "core": (
        exercises.transferred,
        copied,
        (
            lambda model, state, layers: model,  # nothing done
            lambda model, state, layers: True,
            lambda model, state, layers: copied(model, state, layers, freeze=False),
            lambda model, state, layers: copied(model, state, layers, score=True),
            lambda model, state, layers: copied(model, state, list(fcn.TRUNK_LAYERS.values())),
        ),
        ("copy_", "requires_grad_("),
    ),
    "open": (
        exercises.outlines,
        {"source": "misclassified", "rate": 0.8},
        (
            {"source": "random"},
            {"source": "missing", "rate": 0.8},
            {"source": "misclassified", "rate": 0.3},
            {"source": "objectness"},
            {"source": "autoencoder"},
            {"source": "misclassified"},
            {"label": "random"},
        ),
        ("misclassified,", "0.8"),
    ),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_tells_right_from_wrong(name, capsys, sandbox):
    check, right, wrong, secret = CHECKS[name]
    check(right)
    assert capsys.readouterr().out == "Right.\n"
    for answer in wrong:
        check(answer)
        said = capsys.readouterr().out
        assert said.startswith("Not yet: ")
        assert not [word for word in secret if word in said]
