"""CIFAR runs on tiny fake images: what they train on, what they store, and how they resume."""

import dataclasses
import hashlib

import fake_cifar
import numpy as np
import pytest
import torch
from conftest import EVERYWHERE, handed

from nbkit import data, layers, losses, models, paths, precision, runs, sweep, train
from nbkit.checks import VOID
from nbkit.data.cifar import NAMES, NEAR_POSITIVE, OFFICIAL, near_positive
from nbkit.experiments import cifar, classification, scoring
from nbkit.experiments.cifar import CifarRun
from nbkit.images import Images

pytestmark = pytest.mark.filterwarnings("ignore:.*is not that of the published")
SHORT = {"images": 200, "epochs": 1, "batch_size": 32}
TWO_SAMPLE = {"dataset": "vehicles", "annotation": "two-sample", "labelled": 30, "epochs": 1}


@pytest.fixture(autouse=True)
def cache(sandbox):
    """A tiny cache, and nothing written elsewhere."""
    return fake_cifar.write_cache(sandbox / "data", train=200)


@pytest.fixture(autouse=True)
def thin(monkeypatch):
    """Few channels, so that a run takes a second, and not half a minute where bf16 is emulated."""
    monkeypatch.setattr(models.VGG8, "channels", (3, 4, 4, 8, 8, 8, 8))


def weights(trained):
    return torch.cat([p.detach().flatten() for p in trained.model.parameters()])


def final(trained):
    return cifar.probabilities(trained.model, Images(torch.tensor(trained.split.test_inputs)))


def given(run, monkeypatch):
    """What a run hands to the training loop: images, targets, loss and weight ratio."""
    told = handed(monkeypatch, lambda: cifar.fit(run))
    return tuple(told[name] for name in ("inputs", "targets", "loss", "weight_ratio"))


def killed_in_the_second_epoch(monkeypatch):
    """Interrupt the scoring of the second epoch; the list grows by one an epoch scored."""
    score, epochs = cifar.scores, []

    def killed(*arguments):
        epochs.append(None)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(cifar, "scores", killed)
    return epochs


@pytest.mark.parametrize("annotation", ["P+N", "P+U"])
def test_a_run_is_given_what_is_annotated_and_not_held_out(monkeypatch, annotation):
    run = CifarRun(**SHORT, annotation=annotation, seed=4)
    images, targets, *_ = given(run, monkeypatch)
    annotated = classification.annotate(run, data.cifar(200).train_labels)
    used = np.flatnonzero(~annotated.held_out & (annotated.observed != VOID))
    np.testing.assert_array_equal(images.rows, used)
    np.testing.assert_array_equal(targets[0], annotated.observed[used])
    assert annotated.held_out.sum() == 20


def test_no_image_of_two_samples_is_held_out_and_trained_on():
    true = np.arange(400) % 2
    images, annotated = cifar.annotate(CifarRun(**TWO_SAMPLE | {"labelled": 100}), true)
    held = annotated.held_out
    assert not set(images[held]) & set(images[~held])
    assert len(set(images[held])) == 40
    assert (annotated.observed[held] > 0).any()


def test_the_share_that_two_samples_have_no_use_for_makes_no_other_run():
    assert CifarRun(**TWO_SAMPLE, kept=0.3).key == CifarRun(**TWO_SAMPLE).key


def test_two_samples_are_all_images_and_some_positives_again():
    true = data.vehicles().train_labels
    rows, annotated = cifar.annotate(CifarRun(**TWO_SAMPLE), true)
    np.testing.assert_array_equal(rows[: len(true)], np.arange(len(true)))
    assert not annotated.observed[: len(true)].any()
    again = rows[len(true) :]
    assert len(np.unique(again)) == 30
    assert true[again].all()
    assert annotated.observed[len(true) :].all()


@pytest.mark.parametrize(
    "kind",
    [
        {"loss": "weighted", "weight_ratio": 0.3},
        {"loss": "nnpu(setting='two_sample')"},
        {"loss": "vpu(setting='two_sample')"},
    ],
    ids=["weighted", "nnpu", "vpu"],
)
def test_copies_of_the_labelled_positives_change_no_objective(kind, monkeypatch):
    """The loss of all examples at once, with and without copies, for two sets of scores."""
    run = CifarRun(**TWO_SAMPLE, **kind)
    images, (observed,), loss, (ratio,) = given(run, monkeypatch)
    labelled = observed > 0
    shown, times = images.rows[labelled].unique(return_counts=True)
    assert 20 <= len(shown) <= 30
    assert times.tolist() == [cifar.COPIES] * len(shown)
    once = ~labelled
    once[labelled.nonzero()[:: cifar.COPIES]] = True
    alone = (run.weight_ratio,) if loss.separable else ()
    copied = (float(ratio),) if loss.separable else ()
    scale = []
    for seed in (0, 1):
        scores = torch.randn(200, 2, generator=torch.Generator().manual_seed(seed))
        own = scores[images.rows]
        plain = loss.value(own[once], observed[once], *alone)
        scale.append(loss.value(own, observed, *copied) / plain)
    torch.testing.assert_close(*scale)
    if not loss.separable:
        torch.testing.assert_close(scale[0], torch.tensor(1.0))


def test_too_many_labelled_positives_are_refused():
    run = CifarRun(**TWO_SAMPLE | {"labelled": 81})
    with pytest.raises(ValueError, match="at most 80"):
        cifar.annotate(run, data.vehicles().train_labels)


@pytest.mark.parametrize(
    "kind",
    [
        SHORT | {"loss": "weighted", "weight_ratio": 0.2},
        SHORT | {"loss": classification.ESTIMATED},
        SHORT | {"loss": "dist_pu(warm_up=1)"},
        TWO_SAMPLE | {"loss": "vpu(setting='two_sample')"},
    ],
    ids=["weighted", "estimated", "dist_pu", "two samples"],
)
def test_test_labels_reach_neither_the_weights_nor_a_selection_without_them(monkeypatch, kind):
    run = CifarRun(**kind | {"epochs": 3}, learning_rate=3e-3)
    honest = cifar.load(run)
    classes = len(honest.classes)
    wrong = dataclasses.replace(honest, test_labels=(honest.test_labels + 1) % classes)
    trained = []
    for split in (honest, wrong):
        monkeypatch.setattr(cifar, "load", lambda run, split=split: split)
        trained.append(cifar.fit(run))
    assert torch.equal(*map(weights, trained))
    first, second = (scoring.results(one, final(one))[0]["metrics"] for one in trained)
    assert first["last"]["accuracy"] != second["last"]["accuracy"]
    for criterion in ("last", "last_3", "proxy_accuracy", "pu_auc", "oracle"):
        assert first[criterion]["epoch"] == second[criterion]["epoch"]
    for epochs in zip(*(one.history.epochs for one in trained), strict=True):
        for name in ("proxy_accuracy", "pu_auc", "labelled_share"):
            assert torch.equal(*(scored[name] for scored in epochs))


def test_a_run_killed_after_an_epoch_ends_in_the_same_weights(tmp_path, monkeypatch):
    run = CifarRun(**SHORT | {"epochs": 2}, learning_rate=3e-3)
    whole = cifar.fit(run)
    epochs = killed_in_the_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        cifar.fit(run, checkpoint=tmp_path / "run.pt")
    resumed = cifar.fit(run, checkpoint=tmp_path / "run.pt")
    assert len(epochs) == 3  # the first epoch was not trained again
    assert torch.equal(weights(whole), weights(resumed))
    torch.testing.assert_close(whole.history.epochs, resumed.history.epochs, rtol=0, atol=0)


def test_a_checkpoint_does_not_go_on_in_another_precision(tmp_path, monkeypatch):
    run = CifarRun(**SHORT)
    for has in (True, False):
        monkeypatch.setattr(precision, "has_bf16", lambda device, has=has: has)
        if has:
            cifar.fit(run, checkpoint=tmp_path / "run.pt")
        else:
            with pytest.raises(train.TrainingError, match="'bf16' and would go on with 'fp32'"):
                cifar.fit(run, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize("device", EVERYWHERE)
@pytest.mark.parametrize(("loss", "scored"), [("cross_entropy", 3), (classification.ESTIMATED, 5)])
def test_a_sweep_goes_on_from_the_checkpoint_and_deletes_it(loss, scored, device, monkeypatch):
    run = CifarRun(**SHORT | {"epochs": 2}, loss=loss)  # an estimated share: two networks
    epochs = killed_in_the_second_epoch(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        sweep.compute([run], engine="inline", device=device)
    left = [paths.checkpoint(name) for name in run.checkpoints()]
    assert any(path.exists() for path in left)
    sweep.compute([run], engine="inline", device=device)
    assert len(epochs) == scored
    assert not any(path.exists() for path in left)
    record = runs.Store().load(run)
    assert record["provenance"]["resumed"]  # so that its seconds are not taken for all of them
    assert set(record["metrics"]) == set(fake_cifar.CRITERIA)
    count, confidence, accuracy = np.array(record["reliability"]).T
    last = record["metrics"]["last"]
    assert count.sum() == np.sum(record["confusion"])
    assert count @ accuracy / count.sum() == pytest.approx(last["accuracy"], rel=1e-4)
    gap = count @ abs(accuracy - confidence) / count.sum()
    assert gap == pytest.approx(last["calibration_error"], rel=1e-4)


@pytest.mark.parametrize("run", [CifarRun(**SHORT, weight_ratio=9.0), CifarRun(**TWO_SAMPLE)])
def test_a_result_names_the_surest_false_positives(monkeypatch, run):
    given = np.random.default_rng(0).dirichlet(np.ones(2 if run.labelled else 11), 200)
    monkeypatch.setattr(cifar, "probabilities", lambda model, images, _: given[None, : len(images)])
    (result,) = cifar.compute([run], "cpu")
    true = cifar.load(run).test_labels
    called = [
        (1 - given[i, 0], i, given[i].argmax())
        for i in range(len(true))
        if true[i] == 0 and given[i].argmax() > 0
    ]
    expected = [(i, guess, p) for p, i, guess in sorted(called, reverse=True)[:12]]
    assert [named[:2] for named in result["false_positives"]] == [one[:2] for one in expected]
    np.testing.assert_allclose([n[2] for n in result["false_positives"]], [e[2] for e in expected])


@pytest.mark.parametrize(
    "run",
    [CifarRun(**SHORT, loss="dist_pu(warm_up=0)"), CifarRun(**TWO_SAMPLE, loss="vpu")],
)
def test_losses_that_mix_examples_train_on_images(run):
    (result,) = cifar.compute([run], "cpu")
    assert np.isfinite(result["curves"]["loss"]).all()


def test_a_run_of_more_images_than_there_are_fails_alone():
    many, few = CifarRun(**SHORT | {"images": 10**6}), CifarRun(**SHORT)
    with pytest.raises(sweep.SweepError, match="1 of 2"):
        sweep.compute([many, few], engine="inline", device="cpu")
    assert runs.Store().load(few) is not None


def test_forward_with_an_estimated_share_is_trained_after_its_estimator(tmp_path):
    run = CifarRun(**SHORT, loss=classification.ESTIMATED, learning_rate=3e-3)
    trained = cifar.fit(run, checkpoint=tmp_path / "run.pt")
    estimating = cifar.fit(dataclasses.replace(run, loss="cross_entropy"))
    annotated = estimating.annotated[0]
    held = Images(
        torch.from_numpy(
            estimating.split.train_inputs[annotated.held_out & (annotated.observed > 0)]
        )
    )
    share = (1 - cifar.probabilities(estimating.model, held, "auto")[0, :, 0]).mean()
    assert trained.loss.kept == pytest.approx(share, abs=1e-4)
    alone = cifar.fit(dataclasses.replace(run, loss=f"forward(kept={trained.loss.kept})"))
    assert torch.equal(weights(trained), weights(alone))


def test_an_estimated_share_may_be_faded_in():
    run = CifarRun(**SHORT, loss=classification.ESTIMATED, fade_in=True)
    (result,) = cifar.compute([run], "cpu")
    assert 0 < result["kept"] < 1


def test_the_near_positives_are_classes_of_cifar_100(committed_results, monkeypatch):
    monkeypatch.setenv("NBKIT_DATA", str(committed_results))  # no images: the official ones
    run = cifar.table("small")["Weighted", 0]
    named = set(runs.Store(committed_results).load(run)["called_positive"])
    assert len(named) == 100
    near = [name for group in NEAR_POSITIVE.values() for name in group]
    assert {len(group) for group in NEAR_POSITIVE.values()} == {5}
    assert len(set(near)) == 25
    assert set(near) <= named
    hundred = hashlib.sha256(" ".join(sorted(named)).encode()).hexdigest()  # in their own order
    assert hundred[:12] in NAMES.values()
    assert OFFICIAL["vehicles"] in NAMES


def test_scores_without_near_positives_leave_them_out():
    split = data.cifar(200)
    predicted = np.random.default_rng(0).integers(0, 11, len(split.test_labels))
    far, rates = scoring.near_and_far(split, predicted)
    keep = ~near_positive(split)
    assert keep.sum() == 198  # one bus, one wolf
    accuracy = (predicted == split.test_labels)[keep].mean()
    assert far["far_accuracy"] == pytest.approx(accuracy)
    bus = split.categories.index("bus")
    assert rates["bus"] == (predicted[split.test_categories == bus] > 0).mean()
    assert len(rates) == 100


def test_bf16_is_refused_where_it_is_only_emulated(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device: False)
    with pytest.raises(ValueError, match="precision='fp32'"):
        cifar.fit(CifarRun(**SHORT, precision="bf16"))


@pytest.mark.parametrize("has", [False, True])
def test_a_run_takes_bf16_where_it_is_there_and_says_so(monkeypatch, has):
    monkeypatch.setattr(precision, "has_bf16", lambda device: has)
    kind = ("fp32", "bf16")[has]
    runs = [CifarRun(**SHORT, precision=asked) for asked in ("auto", kind)]
    automatic, chosen = (cifar.compute([run], "cpu")[0] for run in runs)
    assert automatic["precision"] == chosen["precision"] == kind
    assert automatic["curves"]["loss"] == chosen["curves"]["loss"]
    assert runs[0].key != runs[1].key


@pytest.mark.parametrize(
    ("kind", "taken"), [("fp32", {"dropped", "dense"}), ("reference", {"usually_dropped"})]
)
def test_a_reference_run_takes_no_short_cut(monkeypatch, kind, taken):
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    used = set()
    for name in ("dropped", "usually_dropped", "dense"):
        real = getattr(layers, name)
        monkeypatch.setattr(
            layers, name, lambda *given, name=name, real=real: used.add(name) or real(*given)
        )
    (result,) = cifar.compute([CifarRun(**SHORT, precision=kind)], "cpu")
    assert result["precision"] == "fp32"
    assert used == taken


@pytest.mark.parametrize("loss", ["vpu", "nnpu"])
def test_vpu_alone_is_also_cut_where_its_authors_do(monkeypatch, loss):
    def said(model, images, precision):
        return np.random.default_rng(len(images)).dirichlet((9, 1), len(images))[None]

    monkeypatch.setattr(cifar, "probabilities", said)
    run = CifarRun(**TWO_SAMPLE, loss=f"{loss}(setting='two_sample')")
    (result,) = cifar.compute([run], "cpu")
    split = cifar.load(run)
    test, seen = (said(0, part, 0)[0, :, 1] for part in (split.test_labels, split.train_labels))
    accuracy = ((test / seen.max() >= 0.5) == split.test_labels).mean()  # Chen et al.'s code
    wanted = {"rescaled_accuracy": accuracy} if loss == "vpu" else {}
    last = result["metrics"]["last"]
    assert {name: last[name] for name in last if name == "rescaled_accuracy"} == wanted


def test_bf16_keeps_the_weights_in_float32_and_close(monkeypatch):
    monkeypatch.setattr(precision, "has_bf16", lambda device: True)
    images = Images(torch.tensor(data.vehicles().train_inputs[:16]))
    targets = torch.arange(16)[None] % 2
    ends = []
    for kind in ("fp32", "bf16"):
        model = models.VGG8(2, [0])
        train.fit(
            model,
            images,
            targets,
            losses.create("cross_entropy"),
            epochs=1,
            batch_size=8,
            learning_rate=1e-3,
            precision=kind,
        )
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert ends[1].dtype == torch.float32
    assert 0 < (ends[1] - ends[0]).abs().mean() < 1e-3  # a step of Adam


def test_what_a_loss_learns_itself_is_left_in_it():
    images = Images(torch.tensor(data.vehicles().train_inputs[:16]))
    loss = losses.create("noise_layer", num_classes=2)
    before, model = loss.transition.detach().clone(), models.VGG8(2, [0])
    short = {"epochs": 1, "batch_size": 8, "learning_rate": 1e-3}
    train.fit(model, images, torch.arange(16)[None] % 2, loss, **short)
    assert not torch.equal(loss.transition, before)
    assert loss.transition.sum(1).tolist() == pytest.approx([1, 1])


def test_two_samples_tell_their_risk_so(monkeypatch):
    *_, loss, _ = given(CifarRun(**TWO_SAMPLE, loss="nnpu"), monkeypatch)
    assert loss.setting == "two_sample"


@pytest.mark.parametrize("loss", ["forward", "backward", classification.ESTIMATED])
def test_two_samples_have_no_share_of_missing_labels_to_correct_for(loss):
    with pytest.raises(ValueError, match=r"of two samples, write kept=, the share"):
        CifarRun(**TWO_SAMPLE, loss=loss)
    assert CifarRun(**TWO_SAMPLE, loss="forward(kept=0.05)").loss == "forward(kept=0.05)"


@pytest.mark.parametrize("annotation", ["Complete", "P+N", "P+U"])
def test_labels_are_missing_with_p_and_u_alone(monkeypatch, annotation):
    kept = 0.6
    share = kept if annotation == "P+U" else 1
    run = CifarRun(**SHORT, annotation=annotation, kept=kept, loss="forward")
    *_, loss, _ = given(run, monkeypatch)
    assert loss.kept == share
    for rule in ("balanced", "bayes"):
        weighed = classification.balance(dataclasses.replace(run, loss="weighted"), rule, 0.5)
        assert weighed.weight_ratio == pytest.approx(share / (2 - share), abs=1e-4)
    assert classification.balance(dataclasses.replace(run, loss="nnpu"), "half", 0.5) == (
        dataclasses.replace(run, loss="nnpu")
    )


def test_the_table_has_the_draft_s_rows_and_one_without_weights_and_the_figure_shares_its_runs():
    table, figure = cifar.table("small"), cifar.figure("small")
    assert {row for row, _ in table} == {*classification.DRAFT_ROWS, classification.UNWEIGHTED}
    assert table[classification.UNWEIGHTED, 0] == dataclasses.replace(
        table["Exponential", 0], weight_ratio=1.0
    )
    assert figure["Exponential", 0.5, 0].key == table["Exponential", 0].key
    assert figure["CrossEntropy", 1.0, 0].key == table["Complete", 0].key
    assert table["DropoutReg", 0].dropout > table["CrossEntropy", 0].dropout == 0.5
    assert list(cifar.grid("small"))[: len(table)] == [("table", *name) for name in table]
    for (row, kind, seed), twin in cifar.precision("small").items():
        assert twin == dataclasses.replace(table[row, seed], precision=kind)


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_all_rows_have_one_protocol_and_one_dropout_but_dropoutreg(preset):
    rows = cifar.table(preset) | cifar.extended(preset)
    shared = ("dataset", "images", "epochs", "batch_size", "learning_rate", "precision")
    assert len({tuple(getattr(run, name) for name in shared) for run in rows.values()}) == 1
    kept = {run.kept for run in rows.values() if run.annotation != "Complete"}
    assert kept == {0.5}
    usual = {run.dropout for (row, _), run in rows.items() if row != "DropoutReg"}
    assert usual == {cifar.DROPOUT}


@pytest.mark.parametrize("row", ["Weighted", "Exponential", "BootstrapHard"])
def test_a_weighted_row_is_balanced_at_every_share_of_labels(row):
    for (name, kept, _), run in cifar.figure("small").items():
        if name == row:
            labelled = 0.5 * kept  # of all examples, half of which are positive
            assert run.weight_ratio == pytest.approx(labelled / (1 - labelled), abs=1e-4)


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_figure_5_has_the_losses_of_the_table_and_nnpu_at_the_draft_s_shares(preset):
    rows, shares, _ = zip(*cifar.figure(preset), strict=True)
    losses_of = {*classification.DRAFT_ROWS} - {"Complete"}  # all labelled: at a share of 1
    assert {*rows} == losses_of | {"nnPU"}
    assert {*shares} == {0.1, 0.2, 0.5, 0.8, 1.0}


def test_the_binary_protocol_is_that_of_the_literature():
    grid = {row: run for (row, _), run in cifar.binary("small").items()}
    rows = ["nnPU", "VPU", "Dist-PU", "Weighted, Bayes r", "Exponential, Bayes r"]
    assert {(grid[row].dataset, grid[row].labelled) for row in rows} == {("vehicles", 1000)}
    # the labelled are 1,000 vehicles again, beside 50,000 images of which .4 are vehicles
    assert grid["Weighted, Bayes r"].weight_ratio == 1000 / (2 * 0.4 * 50_000)
    assert grid["Exponential, Bayes r"].weight_ratio == 2 * grid["Weighted, Bayes r"].weight_ratio


def test_runs_are_found_without_their_images(monkeypatch, tmp_path):
    monkeypatch.setenv("NBKIT_DATA", str(tmp_path / "nothing"))
    grid = cifar.binary("small")
    assert len({run.key for run in grid.values()}) == len(grid)


def test_dist_pu_warms_up_for_half_of_the_epochs():
    for run in (cifar.extended("small")["Dist-PU", 0], cifar.binary("small")["Dist-PU", 0]):
        loss = losses.build(run.loss, kept=0.5, prior=0.5, num_classes=2)
        assert 2 * loss.warm_up == run.epochs


def test_a_sweep_tells_once_of_images_that_are_not_the_published():
    with pytest.warns(UserWarning, match="is not that of the published") as told:
        assert sweep.without_data([CifarRun(**SHORT), CifarRun(**SHORT, seed=1)]) == {}
    assert [str(line.message).split(":")[0] for line in told] == ["cifar"]


@pytest.mark.parametrize("seen", [False, True])
def test_a_broken_cache_is_not_trained_on(cache, seen):
    run = CifarRun(**SHORT)
    if seen:
        data.cifar(400)
    labels = cache / "cifar100" / "train_labels.npy"
    np.save(labels, np.load(labels)[:-1])
    with pytest.raises((sweep.SweepError, data.DataError), match="cifar100 is broken"):
        sweep.compute([run], engine="inline")
    assert not list(runs.Store().root.rglob("*.json"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kept": 0}, r"kept must be in \(0, 1\], got 0"),
        ({"loss": "crossentropy"}, "loss must be one of"),
        ({"dataset": "digits"}, "dataset"),
        ({"annotation": "two-sample"}, "labelled"),
        ({"labelled": 10}, "two-sample"),
        ({"precision": "fp16"}, "precision"),
        ({"dataset": "vehicles", "images": 200}, "images"),
        ({"images": -200}, "images"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_a_run_outside_its_range_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        CifarRun(**change)
