"""Runs on masks: what they train on, what they store, and that validation images stay out."""

import dataclasses

import fake_voc
import numpy as np
import pytest
import torch
from conftest import handed

from nbkit import fcn, losses, metrics, paths, rng, runs, sweep, tables, train
from nbkit.checks import VOID
from nbkit.experiments import pixels, pretraining, segmentation, transfer
from nbkit.experiments.classification import ClassificationRun
from nbkit.experiments.pretraining import TransferRun
from nbkit.experiments.segmentation import SegmentationRun

pytestmark = pytest.mark.usefixtures("sandbox")

SCENES = {"dataset": "scenes", "images": 60, "objects": 3, "epochs": 2}
TRANSFER = SCENES | {"images": 120, "source_epochs": 1, "folds": 4}


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def trainings(monkeypatch, compute):
    """The pictures and labels that every call of the training loop is given."""
    seen, original = [], train.fit

    def fit(model, inputs, targets, *args, **options):
        seen.append((inputs.pixels.numpy(), None if targets is None else targets[0].numpy()))
        return original(model, inputs, targets, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(train, "fit", fit)
        outcome = compute()
    return seen, outcome


def rows_of(pictures):
    return {picture.tobytes() for picture in pictures}


@pytest.mark.parametrize("annotation", segmentation.ANNOTATIONS)
def test_whole_instances_are_labelled_or_not(annotation):
    run = SegmentationRun(**SCENES, annotation=annotation, target="categories")
    observed = segmentation.annotate(run)
    ids, true = observed.data.instances, observed.data.masks()
    for image in range(len(ids)):
        for unit in set(np.unique(ids[image])) - {0, VOID}:
            inside = ids[image] == unit
            assert len(np.unique(observed.masks[image][inside])) == 1
    assert (observed.masks[true == VOID] == VOID).all()
    changed = (observed.masks != true) & (true > 0) & (true != VOID)
    assert changed.any() == (annotation != "Complete")
    if annotation == "P+U":
        assert (observed.masks[changed] == 0).all()
    if annotation == "P":
        assert not (observed.masks[~observed.held_out] == 0).any()
        assert (observed.masks[observed.held_out] == 0).any()  # selection needs the population
    if annotation == "P+N":
        whole = (observed.masks == true).all((1, 2)) | (observed.masks == VOID).all((1, 2))
        assert whole.all()


@pytest.mark.parametrize("annotation", ["Complete", "P+N"])
def test_none_is_hard_to_find_where_none_is_missing(annotation):
    with pytest.raises(ValueError, match="which instances are missing"):
        SegmentationRun(**SCENES, annotation=annotation, hard=True)


def test_too_few_images_to_select_with_are_refused_before_training():
    run = SegmentationRun(dataset="scenes", images=10, objects=1, kept=0.05)
    with pytest.raises(ValueError, match=r"the 1 of 7 examples .* hold no labelled positive"):
        segmentation.annotate(run)


def test_the_hard_ones_are_smaller():
    run = SegmentationRun(**SCENES | {"images": 200}, hard=True)
    observed = segmentation.annotate(run)
    areas, units = observed.data.areas(), observed.data.unit_labels > 0
    gone = units & (observed.labels == 0)
    assert np.median(areas[gone]) < np.median(areas[units & ~gone]) / 1.5


def test_a_run_sees_no_validation_image_and_none_that_is_held_out(monkeypatch):
    run = SegmentationRun(**SCENES)
    seen, trained = trainings(monkeypatch, lambda: segmentation.fit(run))
    ((pictures, labels),) = seen
    whole = pixels.load(run)
    held = trained.observed.data.images[trained.observed.held_out]
    assert len(pictures) == len(labels) == (~whole.validation).sum() - len(held)
    assert not rows_of(pictures) & (rows_of(whole.images[whole.validation]) | rows_of(held))


def test_a_run_trains_with_the_weights_of_its_masks_and_the_prior_of_the_true_ones(monkeypatch):
    run = SegmentationRun(**SCENES, loss="weighted", balance="balanced")
    told = handed(monkeypatch, lambda: segmentation.fit(run))
    labels = told["targets"][0].numpy()
    balanced = ((labels > 0) & (labels != VOID)).sum() / (labels == 0).sum()
    assert told["weight_ratio"].tolist() == pytest.approx([balanced])
    risk = dataclasses.replace(run, loss="nnpu", balance="none")
    told = handed(monkeypatch, lambda: segmentation.fit(risk))
    assert told["weight_ratio"] is None
    true = segmentation.annotate(run).true
    assert told["loss"].prior == pytest.approx((true[true != VOID] > 0).mean())


def test_the_proxy_knows_observed_masks_and_the_oracle_complete_ones():
    run = SegmentationRun(**SCENES | {"epochs": 4}, loss="weighted", balance="balanced")
    trained = segmentation.fit(run)
    observed, last = trained.observed, trained.history.epochs[-1]
    held, step = observed.held_out, pixels.PROXY_STEP
    guess, _ = pixels.predict(trained.model, observed.data.images[held], step)
    clean, seen = (m[held][:, ::step, ::step] for m in (observed.true, observed.masks))
    overlap = [
        ((guess == k) & (clean == k)).sum()
        / (((guess == k) | (clean == k)) & (clean != VOID)).sum()
        for k in (0, 1)
    ]
    assert last["oracle"].item() == pytest.approx(np.mean(overlap))
    prior = (observed.true[observed.true != VOID] > 0).mean()
    labelled, known = (seen > 0) & (seen != VOID), seen != VOID
    found = (guess[labelled] > 0).mean()
    assert 0 < found < 1
    proxy = prior * (2 * found - 1) + (guess[known] == 0).mean()
    assert last["proxy_accuracy"].item() == pytest.approx(proxy)


def test_intervals_are_those_of_their_measure():
    per_image = np.random.default_rng(0).integers(1, 40, (30, 3, 3))
    found = pixels.with_intervals(per_image, 5)
    for name in metrics.STATISTICS:
        draw = rng.generator(5, "bootstrap", name)
        ends = metrics.bootstrap(per_image, name, rng=draw)
        assert [found[f"{name}_low"], found[f"{name}_high"]] == pytest.approx(list(ends))


def test_validation_labels_reach_no_weight(monkeypatch):
    run = SegmentationRun(**SCENES)
    honest = segmentation.fit(run)
    whole = pixels.load(run)
    swapped = np.where(whole.unit_validation & (whole.unit_labels > 0), 0, whole.unit_labels)
    wrong = dataclasses.replace(whole, unit_labels=swapped)
    monkeypatch.setattr(pixels, "load", lambda run: wrong)
    other = segmentation.fit(run)
    assert torch.equal(weights(honest.model), weights(other.model))
    assert not torch.equal(
        honest.history.epochs[-1]["confusion"], other.history.epochs[-1]["confusion"]
    )


def test_transfer_shares_no_image_between_pre_training_fine_tuning_and_validation(monkeypatch):
    run = TransferRun(**TRANSFER)
    seen, _ = trainings(monkeypatch, lambda: transfer.compute([run], "cpu"))
    source, target = (rows_of(pictures) for pictures, _ in seen)
    whole = pixels.load(run)
    assert not source & target
    assert not (source | target) & rows_of(whole.images[whole.validation])


def test_a_fine_tuning_is_scored_on_the_validation_images_of_its_fold_alone(monkeypatch):
    run, scored, predict = TransferRun(**TRANSFER), [], pixels.predict
    monkeypatch.setattr(
        pixels,
        "predict",
        lambda model, images, *step: scored.append(images) or predict(model, images),
    )
    transfer.finetune(run, pretraining.Source({}))
    _, target = pretraining.divide(run)
    for images in scored:
        assert rows_of(images) == rows_of(target.images[target.validation])
    assert len(scored) == run.epochs + 1


def test_target_images_are_drawn_anew_for_every_seed(monkeypatch):
    pictures = []
    for seed in (0, 1):
        run = TransferRun(**TRANSFER, target_images=20, seed=seed)
        told = handed(monkeypatch, lambda run=run: transfer.finetune(run, pretraining.Source({})))
        pictures.append(rows_of(told["inputs"].pixels.numpy()))
    assert pictures[0] != pictures[1]


@pytest.mark.parametrize("source", ["missing", "missing_hard"])
def test_a_pre_training_knows_the_share_that_is_left_and_the_true_prior(source, monkeypatch):
    run = TransferRun(**TRANSFER, source=source, rate=0.25, loss="forward")
    assert handed(monkeypatch, lambda: pretraining.pretrain(run))["loss"].kept == 0.75
    run = dataclasses.replace(run, loss="nnpu")
    whole, _ = pretraining.divide(run)
    true = whole.select(~whole.validation).masks()
    loss = handed(monkeypatch, lambda: pretraining.pretrain(run))["loss"]
    assert loss.prior == pytest.approx((true[true != VOID] > 0).mean())


def test_labels_of_images_say_which_categories_they_show(monkeypatch):
    run = TransferRun(**TRANSFER, source="image_labels")
    told = handed(monkeypatch, lambda: pretraining.pretrain(run))
    whole, _ = pretraining.divide(run)
    masks = whole.select(~whole.validation).masks()
    shown = [[(mask == k).any() for k in range(1, len(whole.classes))] for mask in masks]
    np.testing.assert_array_equal(told["targets"][0].numpy(), shown)


def test_runs_of_one_pre_training_do_it_once(monkeypatch):
    stack = [TransferRun(**TRANSFER, layers=n) for n in (1, 7)]
    assert stack[0].stack() == stack[1].stack()
    seen, results = trainings(monkeypatch, lambda: transfer.compute(stack, "cpu"))
    assert len(seen) == 3
    alone = transfer.compute(stack[1:], "cpu")
    assert results[1]["curves"]["loss"] == alone[0]["curves"]["loss"]


def test_a_run_that_is_not_to_be_resumed_leaves_no_checkpoint_and_reads_none():
    run = TransferRun(**TRANSFER)
    transfer.compute([run], "cpu")
    left = paths.checkpoint(run.key)
    assert left.exists()
    left.write_bytes(b"no checkpoint")
    transfer.compute([run], "cpu", resume=False)
    assert left.read_bytes() == b"no checkpoint"
    assert {path.stem for path in left.parent.iterdir()} == set(run.checkpoints())


@pytest.mark.parametrize("count", [0, 3, 7])
def test_copied_layers_are_the_source_s_and_frozen_ones_stay(count, monkeypatch):
    run = TransferRun(**TRANSFER, layers=count, frozen=True)
    source = pretraining.pretrain(run)
    model, _ = transfer.finetune(run, source)
    for i, name in enumerate(fcn.TRUNK_LAYERS.values()):
        after, before = (state[f"{name}.weight"] for state in (model.state_dict(), source.state))
        assert torch.equal(after, before) == (i < count)


@pytest.mark.parametrize(
    "source", ["objectness", "one_category", "random", "autoencoder", "image_labels", "scratch"]
)
def test_every_initialisation_gives_a_result(source):
    run = TransferRun(**TRANSFER, source=source)
    sweep.compute([run], engine="inline")
    frame = runs.Store().frame([run]).set_index("criterion")
    assert set(metrics.STATISTICS) <= set(frame)
    low, value, high = frame.loc["last", ["mean_iu_low", "mean_iu", "mean_iu_high"]]
    assert low <= value <= high


def test_images_without_a_class_are_not_drawn_in_silence():
    _, target = pretraining.divide(TransferRun(**TRANSFER))
    with pytest.raises(ValueError, match=r"1 target images, seed 0: no training instance of"):
        pretraining.draw_images(target, 0, 1, "target images")


def test_segmentation_stores_scores_criteria_and_what_it_found_again():
    run = SegmentationRun(**SCENES | {"images": 90})
    sweep.compute([run], engine="inline")
    record = runs.Store().load(run)
    assert set(record["metrics"]) == {"last", "last_3", "proxy_accuracy", "oracle", "test"}
    assert {"found", "found_small", "detection_recall"} <= set(record["metrics"]["last"])
    kept = np.array(record["pixel_transition"])
    assert kept[0].tolist() == [1, 0]
    assert 0.3 < kept[1, 1] < 0.7
    last = pixels.measures(np.array(record["confusion"]))
    for name, value in last.items():
        assert record["metrics"]["last"][name] == pytest.approx(value, rel=1e-5)


def test_chance_is_the_share_of_the_missing_pixels_and_a_constant_network_s_score(monkeypatch):
    run = SegmentationRun(**SCENES)
    expected = segmentation.chance(run)
    observed = segmentation.annotate(run)
    part = (slice(None), slice(None, None, pixels.PROXY_STEP), slice(None, None, pixels.PROXY_STEP))
    true, seen = observed.true[part], observed.masks[part]
    missing = (true == 1) & (seen == 0)
    assert expected["found"] == pytest.approx(missing.sum() / (missing | (true == 0)).sum())
    monkeypatch.setattr(
        pixels, "predict", lambda model, images, step: (None, np.zeros(true.shape, np.float32))
    )
    blind = segmentation.Segmenter(None, observed, None, None, None)
    assert segmentation.recovery(run, blind) == pytest.approx(expected)
    for ranked, worse, better in ((missing, 0.99, 1), (~missing, 0, expected["found"])):
        answer = ranked.astype(np.float32)
        monkeypatch.setattr(
            pixels, "predict", lambda model, images, step, said=answer: (None, said)
        )
        assert worse < segmentation.recovery(run, blind)["found"] <= better


def test_priors_of_images_are_their_shares_of_positives_without_void():
    masks = np.array([[[0, 1], [2, VOID]], [[0, 0], [0, 0]], [[VOID, VOID], [VOID, VOID]]])
    np.testing.assert_allclose(pixels.image_priors(masks), [2 / 3, 0, 0], rtol=1e-6)
    whole = segmentation.annotate(SegmentationRun(**SCENES)).true
    known = (whole != VOID).sum((1, 2))
    assert np.average(pixels.image_priors(whole), weights=known) == pytest.approx(
        pixels.prior(whole), rel=1e-6
    )


def test_a_prior_for_each_image_changes_a_training(monkeypatch):
    row = vars(segmentation.ROWS["nnPU, prior per image"])
    given, original = [], train.fit

    def fit(*args, priors, **options):
        given.append(priors)
        return original(*args, priors=priors, **options)

    monkeypatch.setattr(train, "fit", fit)
    own = segmentation.fit(SegmentationRun(**SCENES, **row))
    one = segmentation.fit(SegmentationRun(**SCENES, **row | {"loss": "nnpu"}))
    true = own.observed.true[~own.observed.held_out]
    np.testing.assert_array_equal(given[0].numpy(), pixels.image_priors(true))
    assert given[1] is None
    assert not torch.equal(weights(own.model), weights(one.model))


def test_balanced_weights_are_labelled_over_unlabelled_pixels():
    masks = np.array([[[0, 0, 0, 1], [2, VOID, 0, 0]]])
    assert pixels.weight_ratio("weighted", "balanced", 0.5, masks) == pytest.approx(2 / 5)
    assert pixels.weight_ratio("weighted", "half", 0.5, masks) == pytest.approx(1 / 5)
    assert pixels.weight_ratio("weighted", "bayes", 0.5, masks) == losses.bayes_ratio(
        "weighted", 0.5
    )
    assert pixels.weight_ratio("nnpu", "balanced", 0.5, masks) is None


@pytest.mark.parametrize("balance", ["balanced", "half"])
def test_a_balance_without_unlabelled_pixels_is_refused(balance):
    with pytest.raises(ValueError, match="weighs unlabelled pixels, and there are none"):
        segmentation.fit(SegmentationRun(**SCENES, annotation="P", balance=balance))


@pytest.mark.parametrize("annotation", ["P+N", "P+U"])
def test_instances_are_missing_with_p_and_u_alone(annotation):
    share = 1.0 if annotation == "P+N" else 0.6
    run = SegmentationRun(**SCENES, annotation=annotation, kept=0.6, loss="weighted")
    given = segmentation.fit(dataclasses.replace(run, balance="bayes")).weight_ratio
    assert given == losses.bayes_ratio("weighted", share)


def test_the_prior_of_one_category_is_that_of_its_instances(monkeypatch):
    given = []
    monkeypatch.setattr(pixels, "fit", lambda model, loss, **_: given.append(loss))
    run = TransferRun(**SCENES, source="one_category", loss="nnpu")
    pretraining.pretrain(run)
    source, _ = pretraining.divide(run)
    chosen = source.select(~source.validation)
    masks = chosen.masks()
    assert given[0].prior == pytest.approx((masks[masks != VOID] == 1).mean())


@pytest.mark.parametrize("preset", ["smoke", "laptop", "small", "paper"])
@pytest.mark.parametrize("experiment", [segmentation, transfer])
def test_every_preset_lists_its_runs_without_the_photos(experiment, preset):
    grid = experiment.grid(preset)
    assert len({run.key for run in grid.values()}) > 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dataset": "msrc"}, "scenes, and only they"),
        ({"images": 0}, "scenes, and only they"),
        ({"network": "vgg"}, "network"),
        ({"kept": 0.0}, "kept"),
        ({"annotation": "some"}, "annotation"),
        ({"balance": "equal"}, "balance"),
        ({"target": "edges"}, "target"),
        ({"loss": "hinge"}, "loss"),
    ],
)
def test_a_wrong_parameter_is_named(changes, reason):
    with pytest.raises(ValueError, match=reason):
        SegmentationRun(**SCENES | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"source": "vgg"}, "source"),
        ({"fold": 5}, "fold must be in 1..4"),
        ({"layers": 8}, "layers"),
        ({"source": "missing"}, "rate is for source missing"),
        ({"rate": 0.5}, "rate is for source missing"),
        ({"groups": 2}, "groups is for source groups"),
    ],
)
def test_a_wrong_transfer_is_named(changes, reason):
    with pytest.raises(ValueError, match=reason):
        TransferRun(**TRANSFER | changes)


def test_a_frame_of_unfinished_runs_says_which_are_missing():
    store = runs.Store()
    grid = {("Complete", 0): SegmentationRun(**SCENES, annotation="Complete", kept=1.0)}
    grid[("CrossEntropy", 0)] = SegmentationRun(**SCENES)
    assert store.grid_frame(grid, ("row", "seed"))["mean_iu"].isna().all()
    sweep.compute([grid[("Complete", 0)]], store=store, engine="inline")
    found = store.grid_frame(grid, ("row", "seed"))
    last = found[found["criterion"] == "last"].set_index("row")["mean_iu"]
    assert last.notna().to_dict() == {"Complete": True, "CrossEntropy": False}
    curves = pixels.curves(store, grid, ("row", "seed")).set_index("row")["mean_iu"]
    assert curves.groupby("row").count().to_dict() == {"Complete": 2, "CrossEntropy": 0}
    assert curves["Complete"].iloc[-1] == pytest.approx(last["Complete"], abs=1e-4)


def test_regret_and_caption_take_runs_on_masks_finished_or_not():
    store = runs.Store()
    grid = {("CrossEntropy", seed): SegmentationRun(**SCENES, seed=seed) for seed in (0, 1)}
    criteria = ("last", "proxy_accuracy")
    for done in (0, 1):
        frame = store.grid_frame(grid, ("row", "seed"))
        assert set(SegmentationRun.score_names) <= set(frame)
        regret = tables.regret(frame, ["row", "seed"], "mean_iu", criteria)
        assert regret[[*criteria, "peeking"]].notna().all(axis=1).sum() == done
        assert tables.caption(frame, "", "").startswith(f"{done} of 2 runs finished")
        sweep.compute([grid["CrossEntropy", 0]], store=store, engine="inline")


def test_a_folder_of_ones_own_is_one_folder_however_it_is_written(sandbox, monkeypatch):
    fake_voc.write(sandbox / "photos")
    monkeypatch.chdir(sandbox)
    monkeypatch.setenv("HOME", str(sandbox))
    ways = ("photos", "./photos/", "~/photos", str(sandbox / "elsewhere" / ".." / "photos"))
    assert len({TransferRun(dataset=way, size=64).key for way in ways}) == 1


@pytest.mark.parametrize("kind", [SegmentationRun, ClassificationRun])
def test_complete_labels_are_one_run_whatever_share_it_is_given(kind):
    own = SCENES if kind is SegmentationRun else {}
    given = [kind(**own, annotation="Complete", kept=kept) for kept in (0.3, 1.0)]
    assert given[0].key == given[1].key
    assert given[0].kept == 1
