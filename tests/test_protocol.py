"""What a run is given and what is kept of it: labels, pairs, stacks, criteria."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import handed

from nbkit import data, losses, metrics, rng, sweep, train
from nbkit.checks import VOID
from nbkit.experiments import (
    classification,
    moons,
    pixels,
    scoring,
    segmentation,
    single,
    thresholds,
)
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.moons import MoonsRun
from nbkit.experiments.segmentation import SegmentationRun
from nbkit.experiments.thresholds import ThresholdRun
from nbkit.runs import Store

SCENES = {"dataset": "scenes", "images": 60, "objects": 3, "epochs": 1}
COMMITTED = [moons.grid("laptop")[row, 0.8, i] for i, row in enumerate(moons.PROTOCOL)]
COMMITTED += [
    classification.grid("laptop")[row, i]
    for i, row in enumerate(
        ("P+N", "Weighted", "Exponential, fade-in", "NoiseLayer", "VPU", "Dist-PU", "DropoutReg")
    )
]


@pytest.mark.parametrize("run", COMMITTED, ids=lambda run: f"{run.loss}-{run.seed}")
def test_a_committed_result_is_what_the_code_computes(run, committed_results):
    (fresh,) = sweep.train_stack([run], "cpu")
    record = Store(committed_results).load(run)
    assert record, "this run is not committed"
    stored = record["metrics"]["last"]
    names = {"accuracy", "balanced_accuracy"} & set(stored)
    assert names
    for name in names:
        assert fresh["metrics"]["last"][name] == pytest.approx(stored[name], abs=0.02)


# ---- labels


@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_an_annotation_keeps_the_share_asked_for(kept):
    true = data.digits().train_labels
    some, rightly = (
        classification.annotate(ClassificationRun(annotation=kind, kept=kept), true).observed
        for kind in ("P+U", "P+N")
    )
    assert (some[true > 0] > 0).mean() == pytest.approx(kept, abs=0.06)
    assert (some[true == 0] == 0).all()
    assert (rightly != VOID).mean() == pytest.approx(kept, abs=0.06)
    assert (rightly[rightly != VOID] == true[rightly != VOID]).all()


@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_moons_keep_the_share_asked_for(kept):
    trained = moons.fit([MoonsRun(kept=kept, epochs=1, seed=seed) for seed in range(5)])
    true = np.stack([split.train_labels for split in trained.splits])
    assert (trained.observed.numpy()[true == 1] == 1).mean() == pytest.approx(kept, abs=0.05)


@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_the_points_of_a_threshold_keep_the_share_asked_for(monkeypatch, kept):
    run = ThresholdRun(kept=kept, prior=0.3)
    told = handed(monkeypatch, lambda: thresholds.compute([run], "cpu"))
    drawn = data.gaussians(
        run.examples, prior=0.3, distance=thresholds.DISTANCE, rng=rng.generator(0, "points")
    )
    np.testing.assert_array_equal(told["inputs"][0, :, 0], drawn.inputs[:, 0])
    observed = told["targets"][0].numpy()
    assert (observed[drawn.labels == 1] == 1).mean() == pytest.approx(kept, abs=0.02)
    assert not observed[drawn.labels == 0].any()


@pytest.mark.parametrize("annotation", segmentation.INCOMPLETE)
@pytest.mark.parametrize("kept", [0.2, 0.8])
def test_masks_keep_the_share_of_instances_asked_for(annotation, kept):
    run = SegmentationRun(**SCENES | {"images": 120}, annotation=annotation, kept=kept)
    observed = segmentation.annotate(run)
    positive = observed.data.unit_labels > 0
    assert (observed.labels[positive] > 0).mean() == pytest.approx(kept, abs=0.05)


@pytest.mark.parametrize("kept", [0.3, 0.8])
def test_masks_of_p_and_n_leave_out_the_other_images(kept):
    observed = segmentation.annotate(SegmentationRun(**SCENES, annotation="P+N", kept=kept))
    left = (observed.masks != VOID).any((1, 2))
    assert left.mean() == pytest.approx(kept, abs=0.15)
    np.testing.assert_array_equal(observed.masks[left], observed.true[left])


def test_rows_of_one_seed_share_labels_and_held_out_examples():
    true = data.digits().train_labels
    kinds = {}
    for name, row in classification.rows().items():
        run = ClassificationRun(**vars(row), kept=1.0 if name == "Complete" else 0.5, seed=3)
        kinds.setdefault(row.annotation, []).append(classification.annotate(run, true))
    assert len(kinds["P+U"]) > 20
    for annotated in kinds.values():
        for one in annotated:
            np.testing.assert_array_equal(one.observed, annotated[0].observed)
            np.testing.assert_array_equal(one.held_out, kinds["Complete"][0].held_out)
    other = classification.annotate(ClassificationRun(seed=4), true)
    assert (other.observed != kinds["P+U"][0].observed).any()
    assert (other.held_out != kinds["P+U"][0].held_out).any()


def test_rows_of_masks_of_one_seed_share_labels_and_held_out_images():
    kinds = {}
    for row in segmentation.ROWS.values():
        annotated = segmentation.annotate(SegmentationRun(**SCENES, **vars(row), seed=2))
        kinds.setdefault(row.annotation, []).append(annotated)
    first = kinds["P+U"][0]
    assert len(kinds["P+U"]) > 10
    for annotated in kinds.values():
        for one in annotated:
            np.testing.assert_array_equal(one.masks, annotated[0].masks)
            np.testing.assert_array_equal(one.held_out, first.held_out)
    np.testing.assert_array_equal(kinds["P"][0].labels, first.labels)
    other = segmentation.annotate(SegmentationRun(**SCENES, seed=3))
    assert (other.labels != first.labels).any()
    assert (other.held_out != first.held_out).any()


# ---- what is handed to the training


def test_digits_train_on_no_held_out_label_and_by_the_ratio_of_each_run(monkeypatch):
    stack = [
        ClassificationRun(loss="weighted", weight_ratio=r, seed=s) for s, r in ((0, 0.5), (1, 2))
    ]
    told = handed(monkeypatch, lambda: classification.fit(stack))
    true = data.digits().train_labels
    for run, targets in zip(stack, told["targets"].numpy(), strict=True):
        annotated = classification.annotate(run, true)
        assert (targets[annotated.held_out] == VOID).all()
        left = ~annotated.held_out
        np.testing.assert_array_equal(targets[left], annotated.observed[left])
    assert told["weight_ratio"].tolist() == [0.5, 2.0]


def test_moons_are_scored_on_their_test_points():
    run = MoonsRun(kept=0.5, loss="exponential", epochs=30, learning_rate=0.02)
    trained, (result,) = moons.fit([run]), moons.compute([run], "cpu")
    (split,) = trained.splits
    with torch.no_grad():
        called = trained.model(torch.tensor(split.test_inputs)[None])[0].argmax(-1).numpy()
    recalls = [(called[split.test_labels == k] == k).mean() for k in (0, 1)]
    assert result["metrics"]["last"]["balanced_accuracy"] == pytest.approx(np.mean(recalls))


def differing(kind, base, **changes):
    """A run, and runs that differ from it in one parameter each."""
    return [kind(**base), *(kind(**base | {name: value}) for name, value in changes.items())]


STACKS = {
    "one by one, moons": differing(
        MoonsRun,
        {"loss": "forward", "kept": 0.5, "epochs": 20, "learning_rate": 0.02},
        loss="exponential",
        kept=0.2,
        weight_ratio=0.3,
        fade_in=True,
        noise=0.4,
        epochs=9,
        learning_rate=0.2,
        seed=1,
    ),
    "one by one, digits": differing(
        ClassificationRun,
        {"loss": "forward", "epochs": 2},
        loss="exponential",
        annotation="P+N",
        kept=0.2,
        weight_ratio=0.3,
        fade_in=True,
        dropout=0.5,
        epochs=3,
        batch_size=64,
        learning_rate=0.05,
        seed=1,
    ),
    "one by one, thresholds": differing(
        ThresholdRun,
        {"loss": "nnpu", "examples": 500, "epochs": 20},
        loss="exponential",
        kept=0.2,
        prior=0.2,
        assumed_prior=0.2,
        epochs=2,
        examples=200,
        seed=1,
    ),
    "moons": [
        MoonsRun(**{"epochs": 2, "seed": seed, **more})
        for seed in (0, 1)
        for more in (
            {"loss": "forward", "kept": 0.3},
            {"loss": "forward", "kept": 0.8},
            {"loss": "weighted", "weight_ratio": 0.4},
            {"loss": "weighted", "weight_ratio": 2.0},
            {"loss": "exponential", "weight_ratio": 2.0},
        )
    ],
    "digits": [
        ClassificationRun(**{"epochs": 2, "seed": seed, **more})
        for seed in (0, 1)
        for more in (
            {"loss": "forward", "annotation": "P+N"},
            {"loss": "forward", "annotation": "P+U"},
            {"loss": "exponential", "kept": 0.8, "weight_ratio": 0.4},
            {"loss": "exponential", "kept": 0.8, "weight_ratio": 2.0},
        )
    ],
    "thresholds": [
        ThresholdRun(**{"examples": 200, "epochs": 2, "seed": seed, **more})
        for seed in (0, 1)
        for more in (
            {"loss": "nnpu", "assumed_prior": 0.3},
            {"loss": "nnpu", "assumed_prior": 0.6},
            {"weight_ratio": 0.4},
        )
    ],
}


@pytest.mark.parametrize("name", STACKS)
def test_runs_that_share_a_stack_end_as_they_do_alone(name):
    stacks = {}
    for run in STACKS[name]:
        stacks.setdefault(run.stack(), []).append(run)
    assert max(map(len, stacks.values())) > 1
    for stack in stacks.values():
        together = sweep.train_stack(stack, "cpu")
        for run, result in zip(stack, together, strict=True):
            (alone,) = sweep.train_stack([run], "cpu")
            assert result["metrics"] == alone["metrics"]


# ---- selection criteria

PEAKS = {"proxy_accuracy": 0, "oracle": 2, "pu_auc": 3}
RIGHT = [6, 9, 7, 8, 5]  # of ten; the test set would keep the second epoch


def series(peak):
    return [1.0 if epoch == peak else 0.5 for epoch in range(len(RIGHT))]


def confusions():
    return np.array([[[right, 10 - right], [0, 10]] for right in RIGHT])


def test_each_criterion_of_masks_keeps_its_epoch():
    epochs = np.array([2, 4, 6, 8, 10])
    selectors = {name: np.array(series(peak)) for name, peak in PEAKS.items()}
    measured = metrics.segmentation(confusions())
    found = scoring.by_criterion(epochs, measured, selectors, "mean_iu")
    accuracy = [(right + 10) / 20 for right in RIGHT]
    kept = {"last": [4], "last_3": [2, 3, 4], "test": [1]}
    kept |= {name: [peak] for name, peak in PEAKS.items()}
    assert set(found) == set(kept)
    for name, picks in kept.items():
        assert found[name]["epoch"] == epochs[picks[-1]]
        assert found[name]["pixel_accuracy"] == pytest.approx(np.mean([accuracy[i] for i in picks]))


def test_each_criterion_of_examples_keeps_its_epoch():
    parts = {name: series(peak) for name, peak in PEAKS.items()}
    told = [
        {"confusion": torch.from_numpy(confusions()[i : i + 1]), "labelled_share": torch.ones(1)}
        | {name: torch.tensor([values[i]]) for name, values in parts.items()}
        for i in range(len(RIGHT))
    ]
    history = train.History(epochs=told, losses=[torch.ones(1)] * len(RIGHT))
    split = replace(data.digits(), test_labels=np.repeat([0, 1], 10), classes=("0", "1"))
    annotated = scoring.ObservedLabels(np.zeros(2, int), np.eye(2), np.zeros(2, bool))
    trained = scoring.Trained(SimpleNamespace(), split, [annotated], history, losses.create("gce"))
    final = np.tile([0.4, 0.6], (1, 20, 1))
    (result,) = scoring.results(trained, final)
    kept = {"last": [4], "last_3": [2, 3, 4], "test": [1]}
    kept |= {name: [peak] for name, peak in PEAKS.items()}
    for name, picks in kept.items():
        own = result["metrics"][name]
        assert own["epoch"] == picks[-1] + 1
        assert own["accuracy"] == pytest.approx(np.mean([(RIGHT[i] + 10) / 20 for i in picks]))


def test_the_oracle_alone_knows_the_true_labels(rng):
    split = data.digits()
    test, selection = (
        rng.dirichlet(np.ones(6), (1, size)) for size in (len(split.test_labels), 80)
    )
    true = rng.integers(0, 6, (1, 80))
    observed = np.where(rng.random((1, 80)) < 0.5, 0, true)
    first, second = (
        scoring.scores(split, test, selection, labels, observed) for labels in (true, true[:, ::-1])
    )
    assert {name for name in first if not torch.equal(first[name], second[name])} == {"oracle"}
    hits = (selection.argmax(-1) == true).mean()
    assert first["oracle"].item() == pytest.approx(hits)


def test_a_single_training_that_diverges_names_epoch_loss_and_parameters():
    run = ClassificationRun(loss="exponential", epochs=3, learning_rate=1e30, seed=7)
    with pytest.raises(
        train.TrainingError, match="loss Exponential is not finite in epoch "
    ) as told:
        single.fit(run)
    assert "learning_rate=1e+30" in str(told.value)
    assert "seed=7" in str(told.value)


def test_a_diverged_network_fails_none_of_its_neighbours(rng):
    split = data.digits()
    test, selection = (
        rng.dirichlet(np.ones(6), (2, size)) for size in (len(split.test_labels), 80)
    )
    test[1], selection[1] = np.nan, np.nan
    true = rng.integers(0, 6, (2, 80))
    observed = np.where(rng.random((2, 80)) < 0.5, 0, true)
    both = scoring.scores(split, test, selection, true, observed)
    alone = scoring.scores(split, test[:1], selection[:1], true[:1], observed[:1])
    for name, values in alone.items():
        torch.testing.assert_close(both[name][:1], values)


def test_masks_are_scored_twenty_times_at_most_and_at_the_end():
    asked = pixels.every(25, lambda: {"score": 1})
    scored = [epoch for epoch in range(1, 26) if asked(epoch) is not None]
    assert len(scored) <= 20
    assert scored[-1] == 25
    assert set(np.diff(scored)) == {2}


# ---- thresholds


def test_the_best_cut_is_that_of_all_cuts(rng):
    posterior = rng.random(40)
    for _ in range(20):
        positive = rng.random(40) < posterior**2
        cut = thresholds.best_cut(posterior, positive)
        wrong = [((posterior >= t) != positive).sum() for t in np.append(posterior, 1.1)]
        assert ((posterior >= cut) != positive).sum() == min(wrong)


def test_points_are_placed_where_the_posterior_is_the_one_asked_for():
    draw = rng.generator(0, "placed")
    drawn = data.gaussians(500, prior=0.3, distance=thresholds.DISTANCE, rng=draw)
    placed = thresholds._place(drawn.posterior, 0.3)
    np.testing.assert_allclose(placed[:, 0], drawn.inputs[:, 0], atol=1e-4)


@pytest.mark.parametrize(
    ("loss", "known"),
    [
        ("forward(kept=0.8)", {"assumed_kept": 0.8}),
        ("bootstrap_hard(beta=0.2)", {"beta": 0.2}),
        ("nnpu(imbalanced=True)", {"imbalanced": True, "prior": 0.5, "assumed_prior": 0.4}),
        ("upu(prior=0.7)", {"prior": 0.5, "assumed_prior": 0.7}),
    ],
)
def test_the_closed_form_of_a_run_knows_the_settings_of_its_loss(loss, known):
    run = ThresholdRun(loss=loss, assumed_prior=0.4)
    name, _ = losses.parse(loss)
    assert thresholds.closed_form(run) == pytest.approx(losses.threshold(name, kept=0.5, **known))


def test_a_network_decides_where_the_closed_form_says():
    run = ThresholdRun(loss="weighted", kept=0.8, prior=0.3, weight_ratio=0.5, epochs=30)
    ((result,), closed) = thresholds.compute([run], "cpu"), thresholds.closed_form(run)
    assert closed == pytest.approx(0.5 / (0.8 * 1.5))
    assert result["metrics"]["last"]["threshold"] == pytest.approx(closed, abs=0.06)


# ---- what is found again


def test_each_third_of_the_missing_instances_has_those_of_its_size():
    areas = np.array([50, 10, 95, 20, 40, 30, 70, 60, 80, 90, 85, 75, 5, 6, 7, 8, 9, 99])
    units = np.array([1, 2, 1, 2, 1, 1, 1, 2, 2, 1, 2, 1, 2, 1, 1, 2, 1, 0])
    observed = units * (areas < 10)  # the smallest have their label, and the last is no instance

    def masks(labels):
        return labels.repeat(pixels.PROXY_STEP)[None, None]  # an image whose units stand in a row

    given = SimpleNamespace(unit_labels=units, areas=lambda: areas, masks=masks)
    told = pixels.ObservedMasks(given, observed, masks(observed), masks(units), None, 3)
    groups = segmentation._missing(SegmentationRun(**SCENES, target="categories"), told)
    found = {name: np.sort(areas[hit.ravel()]).tolist() for name, (hit, _) in groups.items()}
    assert found == {
        "found": [10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95],
        "found_small": [10, 20, 30, 40],
        "found_medium": [50, 60, 70, 75],
        "found_large": [80, 85, 90, 95],
    }
    for hit, either in groups.values():
        assert areas[(either & ~hit).ravel()].tolist() == [99]


def test_the_proxy_of_masks_sees_observed_labels_alone(monkeypatch):
    seen = []
    original = metrics.proxy_accuracy

    def proxy(guess, observed, prior):
        seen.append(observed)
        return original(guess, observed, prior)

    monkeypatch.setattr(metrics, "proxy_accuracy", proxy)
    trained = segmentation.fit(SegmentationRun(**SCENES))
    step, held = pixels.PROXY_STEP, trained.observed.held_out
    masks = trained.observed.masks[held][:, ::step, ::step]
    np.testing.assert_array_equal(seen[-1], masks.ravel())


def test_two_samples_are_scored_on_the_unlabelled_alone(rng):
    split = SimpleNamespace(test_labels=np.array([0, 1, 1]), classes=("a", "b"), prior=0.4)
    true, observed = rng.integers(0, 2, (1, 60)), rng.integers(0, 2, (1, 60))
    selection = rng.dirichlet((1, 1), (1, 60))
    test = rng.dirichlet((1, 1), (1, 3))
    found = scoring.scores(split, test, selection, true, observed, "two_sample")
    guess, unlabelled = selection.argmax(-1), observed == 0
    assert found["oracle"].item() == pytest.approx((guess == true)[unlabelled].mean())
    told = {"setting": "two_sample"}
    proxy = metrics.proxy_accuracy(guess, observed, 0.4, **told)
    assert found["proxy_accuracy"].item() == pytest.approx(proxy.item())
    assert proxy != metrics.proxy_accuracy(guess, observed, 0.4)
    ranked = metrics.pu_auc(1 - selection[0, :, 0], observed[0], 0.4, **told)
    assert found["pu_auc"].item() == pytest.approx(ranked)
    assert ranked != metrics.pu_auc(1 - selection[0, :, 0], observed[0], 0.4)


def test_the_share_of_labels_is_estimated_after_the_last_epoch():
    run = ClassificationRun(loss=classification.ESTIMATED, epochs=2)
    estimating = classification.fit([classification.estimator(run)])
    first, last = (float(epoch["labelled_share"][0]) for epoch in estimating.history.epochs)
    assert classification.told(run, estimating).loss == f"forward(kept={last:.4f})"
    assert round(first, 4) != round(last, 4)


def test_a_closed_form_knows_two_samples_from_one():
    one, two = (
        thresholds.closed_form(ThresholdRun(loss=f"upu(setting='{setting}')", assumed_prior=0.4))
        for setting in ("one_sample", "two_sample")
    )
    known = {"kept": 0.5, "prior": 0.5, "assumed_prior": 0.4}
    assert (one, two) == tuple(losses.threshold("upu", **known, pooled=p) for p in (True, False))
    assert one != two


@pytest.mark.parametrize(("title", "share"), [(t, s) for t, (_, _, s, _) in moons.FIGURE3.items()])
def test_figure_3_has_the_weights_of_the_author(title, share, monkeypatch):
    monkeypatch.setattr(moons, "panel", lambda run, title: run)
    run = moons.figure3(title)
    balanced = 0.25 / 0.75  # half of the positives are labelled, a quarter of all
    assert run.weight_ratio == pytest.approx(share * balanced if share else 1, abs=1e-3)


@pytest.mark.parametrize("positives", [10, 40])
def test_another_data_set_has_the_weights_of_its_own_prior(monkeypatch, positives):
    inputs, labels = np.zeros((100, 20), np.float32), (np.arange(100) < positives).astype(int)
    split = data.split.Split("own", ("others", "own"), inputs, labels, inputs, labels)
    monkeypatch.setitem(classification.DATASETS, "own", lambda: split)
    monkeypatch.setattr(ClassificationRun, "datasets", ("own",))
    size = {"dataset": "own", "epochs": 1, "seeds": 1}
    monkeypatch.setattr(classification.presets, "sizes", lambda *_: size)
    runs = classification.grid("any")
    balanced = positives * 0.5 / (100 - positives * 0.5)  # labelled over unlabelled
    for row, part in (("Weighted", 1), ("Exponential", 1), ("Weighted, half", 0.5)):
        assert runs[row, 0].weight_ratio == pytest.approx(part * balanced, abs=1e-4)
