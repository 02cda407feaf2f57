"""The GPU path without a GPU: fake CUDA tensors raise where a step would wait for the host.

Under ``FakeTensorMode`` tensors have a shape, a dtype and a device, and no values. Whatever needs a
value on the host (``.item()``, boolean indexing, ``nonzero``) or mixes devices raises. Backward and
optimiser do not run there; tests marked ``gpu`` train on a real card.
"""

import fake_cifar
import pytest
import torch
from conftest import EVERYWHERE, needs_card
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from nbkit import fcn, losses, models, optim, sweep, train
from nbkit.experiments import cifar, classification, moons, pretraining, segmentation, thresholds
from nbkit.images import Images

NETWORKS, EXAMPLES, BATCH, FEATURES, CLASSES = 3, 20, 6, 4, 5
KNOWN = {"kept": 0.6, "prior": 0.4, "num_classes": CLASSES}
NNPU = [f"nnpu(variant='{variant}')" for variant in ("clamp", "flip_total", "minus")]
SPECS = [*losses.names(), *NNPU, "nnpu(imbalanced=True)", "upu(surrogate='logistic')"]
MIXING = [name for name in losses.names() if losses.build(name, **KNOWN).mixup is not None]


@pytest.fixture
def cuda():
    """Make every new tensor an imaginary one on a GPU."""
    with FakeTensorMode(), torch.device("cuda"):
        yield


def drawn(shared=True):
    """A batch as ``train.fit`` gathers it: inputs and targets of each network."""
    inputs = torch.randn(*(() if shared else (NETWORKS,)), EXAMPLES, FEATURES)
    targets = torch.randint(0, CLASSES, (NETWORKS, EXAMPLES))
    index = torch.randint(0, EXAMPLES, (NETWORKS, BATCH))
    return train.gather(inputs, targets, index)


def build(spec, faded=False):
    loss = losses.build(spec, **KNOWN)
    return losses.FadeIn(loss) if faded else loss


def network():
    return models.MLP((FEATURES, 8, CLASSES), range(NETWORKS))


def on_gpu(values, shape=(NETWORKS,)):
    assert values.device.type == "cuda"
    assert values.dtype == torch.float32
    assert values.shape == shape


@pytest.mark.parametrize("shared", [True, False], ids=["shared_inputs", "own_inputs"])
def test_gather_and_forward(shared, cuda):
    x, y = drawn(shared)
    assert y.device.type == "cuda"
    on_gpu(network()(x), (NETWORKS, BATCH, CLASSES))


@pytest.mark.parametrize("faded", [False, True], ids=["bare", "faded"])
@pytest.mark.parametrize("spec", SPECS)
def test_loss_of_a_stack(spec, faded, cuda):
    loss = build(spec, faded)
    loss.set_epoch(3)
    x, y = drawn()
    on_gpu(loss.stacked(network()(x), y))


@pytest.mark.parametrize("spec", SPECS)
def test_loss_of_dense_logits(spec, cuda):
    logits = torch.randn(2, CLASSES, 4, 4)
    on_gpu(build(spec).value(logits, torch.randint(0, CLASSES, (2, 4, 4))), ())


@pytest.mark.parametrize("spec", SPECS)
def test_checked_loss_does_not_synchronise_either(spec, cuda):
    """``forward`` leaves the range of the labels unread on a GPU."""
    on_gpu(build(spec)(torch.randn(BATCH, CLASSES), torch.randint(0, CLASSES, (BATCH,))), ())


@pytest.mark.parametrize("name", [n for n in losses.names() if build(n).separable])
def test_ratio_of_each_network(name, cuda):
    x, y = drawn()
    on_gpu(build(name).stacked(network()(x), y, torch.ones(NETWORKS)))


@pytest.mark.parametrize("faded", [False, True], ids=["bare", "faded"])
@pytest.mark.parametrize("name", MIXING)
def test_mixup(name, faded, cuda):
    loss, model = build(name, faded), network()
    loss.set_epoch(20)
    x, y = drawn()
    share = torch.rand(NETWORKS)
    partner = train.partners(loss.mixup, y, torch.rand(NETWORKS, BATCH))
    other = x.gather(1, partner[:, :, None].expand_as(x))
    mixed = model(share[:, None, None] * x + (1 - share[:, None, None]) * other)
    on_gpu(torch.vmap(loss.with_mixup)(model(x), y, mixed, partner, share))


PIXELS = ["vpu(mixup_weight=0)", "dist_pu(mixup_weight=0)"]
PIXELS += [spec for spec in SPECS if spec not in ("vpu", "dist_pu", "noise_layer")]


def segmenting(head, stride=8):
    """A network, images and the targets of its head, and a batch as ``train.fit`` gathers it."""
    model = fcn.FCN(CLASSES, [0], trunk="narrow", stride=stride, dropout=0.0, head=head)
    images = Images(torch.zeros(EXAMPLES, 32, 32, 3, dtype=torch.uint8))
    images.moves = torch.zeros(3, EXAMPLES, dtype=torch.int64)
    targets = {
        "pixels": torch.zeros(1, EXAMPLES, 32, 32, dtype=torch.uint8),
        "image": torch.zeros(1, EXAMPLES, CLASSES - 1, dtype=torch.uint8),
        "reconstruction": None,
    }[head]
    index = torch.randint(0, EXAMPLES, (1, BATCH))
    return model, *train.gather(images, targets, index)


@pytest.mark.parametrize("spec", PIXELS)
def test_loss_of_segmented_images(spec, cuda):
    model, x, y = segmenting("pixels")
    assert y.shape == (1, BATCH, 32, 32)
    assert y.device.type == "cuda"
    loss = build(spec)
    on_gpu(train._losses(model, loss, {}, x, y, None), (1,))


@pytest.mark.parametrize("stride", [16, 8, 4])
def test_segmentation_at_every_stride(stride, cuda):
    model, x, _ = segmenting("pixels", stride)
    on_gpu(model(x), (1, BATCH, CLASSES, 32, 32))


@pytest.mark.parametrize("head", ["image", "reconstruction"])
def test_pre_training_without_masks(head, cuda):
    model, x, y = segmenting(head)
    loss = losses.SquaredError() if y.is_floating_point() else build("cross_entropy")
    on_gpu(train._losses(model, loss, {}, x, y, None), (1,))


@pytest.mark.parametrize(
    "wait",
    [
        lambda v: v.sum().item(),
        lambda v: float(v.detach()[0]),
        lambda v: v[v > 0],
        lambda v: v.nonzero(),
    ],
    ids=["item", "float", "boolean_index", "nonzero"],
)
def test_a_wait_for_the_host_is_caught(wait, cuda):
    """The control: what the tests above rely on."""
    x, y = drawn()
    values = build("gce").stacked(network()(x), y)
    dynamic = torch._subclasses.fake_tensor.DynamicOutputShapeException
    with pytest.raises((DataDependentOutputException, dynamic)):
        wait(values)


def test_a_tensor_on_another_device_is_caught(cuda):
    x, y = drawn()
    with pytest.raises(RuntimeError, match=r"cpu|device"):
        build("gce").stacked(network()(x), y.to("cpu"))


# --- a real card ----------------------------------------------------------------------------------


def trained(spec, device, dropout=0.0, faded=False):
    """Logits and mean losses of a tiny stack after three epochs."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, FEATURES, generator=generator)
    y = torch.randint(0, CLASSES, (NETWORKS, 64), generator=generator)
    model = models.MLP((FEATURES, 16, CLASSES), range(NETWORKS), dropout=dropout).to(device)
    loss = build(spec, faded).to(device)
    history = train.fit(
        model, x.to(device), y.to(device), loss, epochs=3, batch_size=16, learning_rate=1e-2
    )
    with torch.no_grad():
        logits = model(x.to(device).expand(NETWORKS, -1, -1))
    return logits.cpu(), torch.stack(history.losses).cpu()


@pytest.mark.gpu
@needs_card
@pytest.mark.parametrize("faded", [False, True], ids=["bare", "faded"])
@pytest.mark.parametrize("spec", SPECS)
def test_training_on_a_card_agrees_with_the_cpu(spec, faded):
    card, host = (trained(spec, device, faded=faded) for device in ("cuda", "cpu"))
    for one, other in zip(card, host, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.gpu
@needs_card
def test_training_with_dropout_on_a_card_repeats():
    for first, again in zip(*(trained("gce", "cuda", 0.3) for _ in range(2)), strict=True):
        torch.testing.assert_close(first, again, rtol=1e-5, atol=1e-6)


SCENES = {"dataset": "scenes", "images": 40, "objects": 3, "epochs": 2}
SHORT = {
    "moons": moons.MoonsRun(epochs=2),
    "digits": classification.ClassificationRun(dataset="digits", epochs=2),
    "thresholds": thresholds.ThresholdRun(loss="gce", examples=500, epochs=2),
    "cifar": cifar.CifarRun(images=200, epochs=5, batch_size=32),
    "cifar_estimated": cifar.CifarRun(
        images=200, epochs=2, batch_size=32, loss=classification.ESTIMATED
    ),
    "segmentation": segmentation.SegmentationRun(
        **SCENES, loss="nnpu(imbalanced=True, per_image=True)"
    ),
    "transfer": pretraining.TransferRun(**SCENES | {"images": 80}, source_epochs=1, folds=4),
}


@pytest.mark.parametrize("device", EVERYWHERE)
@pytest.mark.parametrize("run", SHORT.values(), ids=SHORT)
def test_every_experiment_runs_through_a_sweep(run, device, sandbox, store):
    fake_cifar.write_cache(sandbox / "data", train=200)
    engine = "processes" if device == "cuda" else "inline"
    sweep.compute([run], store=store, engine=engine, device=device)
    assert store.load(run)["provenance"]["device"] == device


def test_what_repeats_is_neither_tf32_nor_a_sum_without_an_order():
    """The two are on by default in cuDNN, and read without a card."""
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32
    with optim.repeatable():
        assert (cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32) == (True, True, False)
        assert not torch.backends.cuda.matmul.allow_tf32
    assert (cudnn.enabled, cudnn.deterministic, cudnn.allow_tf32) == before
