"""FCN-AlexNet: its shapes, its training on masks, and what a transfer carries over."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nbkit import cli, fcn, losses, paths, train
from nbkit.data import DataError, imagenet
from nbkit.experiments import pretraining, transfer
from nbkit.experiments.pixels import predict
from nbkit.experiments.pretraining import TransferRun
from nbkit.fcn import FCN
from nbkit.images import Images

TINY = fcn.Trunk((4, 4, 4, 4, 4), (5, 3, 3, 3, 3, 3), step=2, dense=4, stride=8)
ALEXNET = {  # torchvision's
    "features.0": (64, 3, 11, 11),
    "features.3": (192, 64, 5, 5),
    "features.6": (384, 192, 3, 3),
    "features.8": (256, 384, 3, 3),
    "features.10": (256, 256, 3, 3),
}


def drawn(shape, high, seed=0):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def pixels():
    return drawn((6, 32, 32, 3), 256).to(torch.uint8)


@pytest.fixture
def masks():
    """Two classes and void."""
    masks = drawn((1, 6, 32, 32), 2, seed=1).to(torch.uint8)
    masks[:, :, :, :5] = 255
    return masks


def fitted(model, pixels, targets, loss="cross_entropy", **options):
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2} | options
    loss = losses.create(loss) if isinstance(loss, str) else loss
    return train.fit(model, Images(pixels), targets, loss, **options)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


# --- the network ----------------------------------------------------------------------------------


def test_the_trunk_has_torchvision_s_shapes_and_names():
    state = FCN(3, [0], dense=8).state_dict()
    found = {name: tuple(state[f"{name}.weight"].shape) for name in ALEXNET}
    assert found == ALEXNET
    assert all(state[f"{name}.bias"].shape == shape[:1] for name, shape in ALEXNET.items())


@pytest.mark.parametrize("trunk", ["half", "narrow"])
@pytest.mark.parametrize("share", [1, 2, 4])
def test_the_output_covers_the_input_at_every_stride(trunk, share):
    whole = 8 * fcn.TRUNKS[trunk].step
    model = FCN(3, [0], trunk=trunk, dense=8, stride=whole // share).eval()
    cells = []
    model.score.register_forward_hook(lambda layer, args, output: cells.append(output.shape[2:]))
    size = (2 * whole, 3 * whole)
    with torch.no_grad():
        assert model(torch.zeros(1, 2, 3, *size)).shape == (1, 2, 3, *size)
    assert cells[0] == (2 * share, 3 * share)


@pytest.mark.parametrize(
    ("trunk", "stride"),
    [("half", 32), ("half", 16), ("half", 8), ("narrow", 16), ("narrow", 8), ("narrow", 4)],
)
def test_a_cell_looks_at_its_own_place(trunk, stride):
    """The middle of what a cell sees lies within half a cell of where the cell is drawn."""
    model = FCN(2, [0], trunk=trunk, dense=8, stride=stride).eval()
    size = 512 if trunk == "half" else 192
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, torch.nn.Conv2d):
                layer.weight.fill_(1 / layer.weight[0].numel())
        x = torch.zeros(1, 3, size, size)
    middle = size // stride // 2
    model.features.requires_grad_(False)
    for layer in model.features:  # the average instead of the maximum: every pixel then counts
        if isinstance(layer, torch.nn.MaxPool2d):
            layer.forward = _average(layer)
    x.requires_grad_(True)
    model.score(model.fc7(model.fc6(F.pad(model.features(x + 1), model.margin))))[
        0, 0, middle, middle
    ].backward()
    seen = x.grad.abs().sum((0, 1, 2))
    centre = (seen * torch.arange(size)).sum() / seen.sum()
    drawn_at = (middle + 0.5) * stride - 0.5
    assert abs(centre.item() - drawn_at) <= stride / 2


def _average(layer):
    def forward(x):
        k = layer.kernel_size
        kernel = torch.full((x.shape[1], 1, k, k), 1 / k**2)
        edge = layer.padding
        x = F.pad(x, (edge, edge + layer.ceil_mode, edge, edge + layer.ceil_mode))
        return F.conv2d(x, kernel, stride=layer.stride, groups=x.shape[1])

    return forward


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (1, 5, 1, 2)])
def test_upsampling_is_bilinear(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = F.interpolate(x, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(fcn.upsampled(x, 8), expected, rtol=1e-5, atol=1e-6)


def written_out(model, x):
    """TINY's scores, and in training a factor after fc6 and one after fc7."""
    conv = [model.get_submodule(name) for name in fcn.TRUNK_LAYERS.values()]
    first, second = (2, 3) if model.training else (1, 1)
    x = F.conv2d(x, conv[0].weight, conv[0].bias, stride=2, padding=2).relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    x = F.conv2d(x, conv[1].weight, conv[1].bias, padding=1).relu()
    x = F.max_pool2d(x, 3, stride=2, ceil_mode=True)
    for layer in conv[2:5]:
        x = F.conv2d(x, layer.weight, layer.bias, padding=1).relu()
    x = F.max_pool2d(x, 3, stride=1, padding=1)
    x = first * F.conv2d(x, conv[5].weight, conv[5].bias, padding=2, dilation=2).relu()
    x = second * F.conv2d(x, conv[6].weight, conv[6].bias).relu()
    return F.conv2d(x, model.score.weight, model.score.bias)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("head", fcn.HEADS)
def test_it_computes_what_the_description_says(head, training, monkeypatch):
    model, factors = FCN(3, [0], trunk=TINY, dropout=0.3, head=head).train(training), [2, 3]

    def dropped(x, rate, generators):
        assert rate == (0.3 if training else 0)
        return factors.pop(0) * x if training else x

    monkeypatch.setattr(fcn, "dropped", dropped)
    x = torch.randn(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        scores, found = written_out(model, x), model(x[None])[0]
    assert scores.shape[2:] == (4, 6)
    if head == "pixels":
        wanted = F.interpolate(scores, scale_factor=8, mode="bilinear")
    elif head == "image":
        mean = scores.mean((2, 3))
        wanted = torch.stack([0 * mean, mean], 1)
    else:
        wanted = F.pixel_shuffle(scores, 8)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert len(factors) == (0 if training else 2)


def test_classes_change_the_score_layer_alone():
    one, other = FCN(3, [5], trunk=TINY).state_dict(), FCN(9, [5], trunk=TINY).state_dict()
    same = {name for name in one if one[name].shape == other[name].shape}
    assert {name for name in one if name not in same} == {"score.weight", "score.bias"}
    assert all(torch.equal(one[name], other[name]) for name in same)


@pytest.mark.parametrize("size", [(60, 64), (64, 33)])
def test_a_size_that_the_stride_does_not_divide_is_refused(size):
    with pytest.raises(ValueError, match=r"cannot be divided by the stride 8: use 64 x (64|32)"):
        FCN(3, [0], trunk=TINY)(torch.zeros(1, 1, 3, *size))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [0, 1]}, "one seed, got 2"),
        ({"trunk": "vgg"}, "trunk must be one of alexnet, half, narrow"),
        ({"stride": 32}, "stride must be 16, 8 or 4 with this trunk, got 32"),
        ({"head": "boxes"}, "head must be one of pixels, image, reconstruction"),
        ({"dropout": 1}, "dropout"),
        ({"classes": 1}, "classes"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    options = {"classes": 3, "seeds": [0], "trunk": TINY} | options
    with pytest.raises(ValueError, match=message):
        FCN(**options)


# --- training -------------------------------------------------------------------------------------


def test_masks_are_learnt(pixels):
    pixels[:, :, :, :] = 40
    masks = torch.zeros(1, 6, 32, 32, dtype=torch.uint8)
    for i in range(6):
        pixels[i, 8:24, 4 * i : 4 * i + 12] = 220
        masks[0, i, 8:24, 4 * i : 4 * i + 12] = 1
    model = FCN(2, [0], trunk=TINY, dropout=0.0)
    fitted(model, pixels, masks, epochs=40)
    predicted, positive = predict(model, pixels.numpy())
    np.testing.assert_array_equal(predicted, positive > 0.5)
    right = torch.from_numpy(predicted) == masks[0]
    assert right.float().mean() > 0.85


def test_masks_of_more_classes_than_a_byte_names_are_learnt(pixels):
    masks = drawn((1, 6, 32, 32), 300).to(torch.int16)
    masks[masks == 255], masks[:, :, :, :5] = 0, 255
    ends = []
    for given in (masks, masks.long()):
        model = FCN(300, [0], trunk=TINY)
        fitted(model, pixels, given)
        ends.append(weights(model))
    torch.testing.assert_close(*ends, rtol=0, atol=0)


@pytest.mark.parametrize("name", [n for n in losses.names() if n not in ("vpu", "dist_pu")])
def test_a_loss_of_pixels_is_that_of_as_many_examples(name, masks):
    """Binary segmentation is classification of the flattened pixels."""
    loss = losses.build(name, kept=0.5, prior=0.4, num_classes=2)
    logits = torch.randn(1, 6, 2, 32, 32, generator=torch.Generator().manual_seed(0))

    def found(logits, y):
        own = train._own_parameters(loss, 1, torch.device("cpu"))
        return train._losses(lambda x: x, loss, own, logits, y, torch.tensor([0.3]))

    flat = logits[0].movedim(1, -1).reshape(-1, 2)
    y = masks.long()
    examples = found(flat[None], y.reshape(1, -1))
    torch.testing.assert_close(found(logits, masks), examples)
    known = y.flatten() != 255
    torch.testing.assert_close(found(flat[None, known], y.flatten()[None, known]), examples)
    weighed = losses.with_balance(loss, 0.3) if loss.separable else loss
    torch.testing.assert_close(weighed(flat, y.flatten())[None], examples)


@pytest.mark.parametrize("name", ["cross_entropy", "exponential", "nnpu", "vpu(mixup_weight=0)"])
def test_void_contributes_nothing(name, masks):
    loss = losses.build(name, kept=0.5, prior=0.4, num_classes=2)
    logits = torch.randn(1, 6, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    other = torch.where(masks[:, :, None] == 255, 100 * logits + 3, logits).requires_grad_(True)

    def found(logits, masks):
        return train._losses(lambda x: x, loss, {}, logits, masks, None)

    cropped = found(logits[..., 5:], masks[..., 5:])
    torch.testing.assert_close(found(logits, masks), cropped)
    torch.testing.assert_close(found(other, masks), cropped)
    found(other, masks).sum().backward()
    assert not other.grad[..., :5].any()
    assert other.grad[..., 5:].any()


# --- a prior for each image


def moved_scores(target, positive, rest):
    """Logits (B, 2, H, W): a mean score where the label is positive, another elsewhere, noise."""
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0)).double()
    f = torch.where(target == 1, positive, rest) + 0.1 * noise
    return torch.stack([torch.zeros_like(f), f], 1).requires_grad_(True)


@pytest.mark.parametrize("imbalanced", [False, True])
@pytest.mark.parametrize("surrogate", ["sigmoid", "logistic"])
def test_equal_priors_are_the_global_prior(masks, surrogate, imbalanced):
    target, logits = masks[0], moved_scores(masks[0], 0.0, 0.0)
    hyper = {"prior": 0.4, "surrogate": surrogate, "imbalanced": imbalanced}
    whole = losses.create("nnpu", **hyper).value(logits, target)
    own = losses.create("nnpu", per_image=True, **hyper)
    split = own.value(logits, target, torch.full((len(target),), 0.4))
    torch.testing.assert_close(split, whole)
    slopes = [torch.autograd.grad(value, logits)[0] for value in (split, whole)]
    torch.testing.assert_close(*slopes)
    torch.testing.assert_close(own.value(logits, target), whole, rtol=0, atol=0)


@pytest.mark.parametrize("variant", losses.risks.NNPU.variants)
def test_each_image_is_corrected_by_its_own_prior(masks, variant):
    target, logits = masks[0][:3], moved_scores(masks[0][:3], 2.0, -2.0)
    priors = torch.tensor([0.0, 0.1, 0.9])
    loss = losses.create("nnpu", prior=0.4, variant=variant, per_image=True)
    f, known, labelled = logits[:, 1] - logits[:, 0], target != 255, target == 1
    missed = torch.stack(
        [torch.sigmoid(one)[seen].mean() for one, seen in zip(f, known, strict=True)]
    )
    positive = priors * torch.sigmoid(-f)[labelled].mean()
    negative = missed - priors * torch.sigmoid(f)[labelled].mean()
    assert negative[0] > 0 > negative[2]
    value = loss.value(logits, target, priors)
    torch.testing.assert_close(value, (positive + negative.clamp(min=0)).mean())
    steps = {
        "kiryo": torch.where(negative >= 0, positive + negative, -negative),
        "clamp": positive + negative.clamp(min=0),
        "flip_total": (positive + negative).abs(),
        "minus": torch.where(negative >= 0, positive + negative, positive - negative),
    }
    wanted = torch.autograd.grad(steps[variant].mean(), logits)[0]
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], wanted)


def test_void_and_images_of_void_alone_count_nowhere_with_their_priors(masks):
    target = masks[0].clone()
    target[4:] = 255
    priors = torch.linspace(0, 1, len(target))
    loss = losses.create("nnpu", prior=0.4, per_image=True)
    logits = moved_scores(target, 1.0, -1.0)
    value = loss.value(logits, target, priors)
    torch.testing.assert_close(
        loss.value(logits[:4, ..., 5:], target[:4, :, 5:], priors[:4]), value
    )
    slope = torch.autograd.grad(value, logits)[0]
    assert not slope.movedim(1, -1)[target == 255].any()


def test_priors_go_with_their_images(pixels, masks, monkeypatch):
    seen, loss = [], losses.create("nnpu", prior=0.4, per_image=True)
    monkeypatch.setattr(
        loss, "value", lambda z, y, prior: seen.append((y.clone(), prior)) or z.mean()
    )
    numbered = torch.arange(1, 7).view(1, 6, 1, 1).expand(1, 6, 32, 32).to(torch.uint8)
    priors = torch.linspace(0.1, 0.6, 6)
    model = FCN(7, [0], trunk=TINY)
    fitted(model, pixels, numbered.contiguous(), losses.FadeIn(loss), priors=priors)
    assert sum(len(prior) for _, prior in seen) == 12
    for target, prior in seen:
        number = torch.where(target == 255, 0, target).amax((1, 2))
        torch.testing.assert_close(prior, number / 10)


@pytest.mark.parametrize(
    ("spec", "priors", "message"),
    [
        ("nnpu(per_image=True)", None, "per_image=True, and only it"),
        ("nnpu", torch.full((6,), 0.3), "per_image=True, and only it"),
        ("nnpu(per_image=True)", torch.full((5,), 0.3), "priors must be 6 shares"),
        ("nnpu(per_image=True)", torch.full((6,), 1.3), "priors must be 6 shares"),
    ],
)
def test_priors_that_do_not_fit_are_refused(spec, priors, message, pixels, masks):
    loss = losses.build(spec, kept=0.5, prior=0.4, num_classes=2)
    with pytest.raises(ValueError, match=message):
        fitted(FCN(2, [0], trunk=TINY), pixels, masks, loss, priors=priors)


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path, pixels, masks):
    whole, first, second = (FCN(2, [4], trunk=TINY) for _ in range(3))
    fitted(whole, pixels, masks, epochs=3)
    file = tmp_path / "run.pt"

    def stop(epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted(first, pixels, masks, epochs=3, checkpoint=file, on_epoch=stop)
    fitted(second, pixels, masks, epochs=3, checkpoint=file)
    torch.testing.assert_close(weights(second), weights(whole), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["vpu", "dist_pu"])
def test_mixing_pixels_is_refused_with_the_way_out(name, pixels, masks):
    mixing, bare = losses.create(name, prior=0.4), losses.create(name, prior=0.4, mixup_weight=0)
    for loss in (mixing, losses.FadeIn(mixing)):
        with pytest.raises(ValueError, match=r"mixes whole examples.*set mixup_weight=0"):
            fitted(FCN(2, [0], trunk=TINY), pixels, masks, loss)
    fitted(FCN(2, [0], trunk=TINY), pixels, masks, bare, epochs=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:, :5], "one target each"),
        (lambda m: m[:, :, :16], r"masks are \(16, 32\) where images are \(32, 32\)"),
        (lambda m: m + 2, r"targets must be in 0\.\.1 or 255"),
        (lambda m: torch.zeros_like(m), "no labelled positive"),
        (
            lambda m: m.float(),
            r"targets must be an int64 tensor .*uint8, int16 or int64 masks.*got torch.float32",
        ),
        (lambda m: m.repeat(2, 1, 1, 1), "targets must be an int64 tensor"),
        (lambda m: None, "SquaredError"),
    ],
)
def test_masks_that_do_not_fit_are_refused(change, message, pixels, masks):
    with pytest.raises(ValueError, match=message):
        fitted(FCN(2, [0], trunk=TINY), pixels, change(masks))


# --- the controls that need no masks --------------------------------------------------------------


def test_image_labels_train_a_sigmoid_a_category(pixels):
    model = FCN(4, [0], trunk=TINY, dropout=0.0, head="image")
    present = drawn((1, 6, 3), 2)
    logits = model(torch.randn(1, 6, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (1, 6, 2, 3)
    found = train._losses(lambda x: x, losses.create("cross_entropy"), {}, logits, present, None)
    scores = logits[0, :, 1] - logits[0, :, 0]
    expected = F.binary_cross_entropy_with_logits(scores, present[0].float())
    torch.testing.assert_close(found, expected[None])
    history = fitted(model, pixels, present, epochs=30)
    assert history.losses[-1] < history.losses[0]


def test_an_autoencoder_learns_without_targets(pixels):
    model = FCN(2, [0], trunk=TINY, dropout=0.0, head="reconstruction")
    images = Images(pixels)
    x = images.plain(slice(0, 6))[None]
    model.begin_epoch(0)
    found = losses.SquaredError().stacked(model(x), x)
    torch.testing.assert_close(found, F.mse_loss(model(x), x)[None])
    model = FCN(2, [0], trunk="narrow", dropout=0.0, head="reconstruction")
    plain = pixels // 8 + 200 * (drawn((6, 1, 1, 3), 2, seed=2)).to(torch.uint8)  # almost a colour
    history = fitted(model, plain, None, losses.SquaredError(), epochs=25, learning_rate=3e-3)
    assert history.losses[-1] < 0.5 * history.losses[0]


def test_an_autoencoder_with_targets_is_refused(pixels, masks):
    with pytest.raises(ValueError, match="has no targets"):
        fitted(FCN(2, [0], trunk=TINY), pixels, masks, losses.SquaredError())


# --- transfer -------------------------------------------------------------------------------------


def parts(layers: int) -> set[str]:
    """The parameters of the first layers of a trunk."""
    first = [*fcn.TRUNK_LAYERS.values()][:layers]
    return {f"{place}.{kind}" for place in first for kind in ("weight", "bias")}


@pytest.mark.parametrize("layers", [0, 3, 7])
def test_the_first_layers_are_equal_and_the_rest_is_not_touched(layers):
    source, model = FCN(6, [1], trunk=TINY).state_dict(), FCN(3, [2], trunk=TINY)
    before = weights(model)
    fcn.transfer(model, source, layers)
    copied = parts(layers)
    for name, value in model.state_dict().items():
        assert torch.equal(value, source[name] if name in copied else before[name])
        assert name.endswith("bias") or (name in copied) != torch.equal(value, before[name])
    assert all(p.requires_grad for p in model.parameters())


def test_a_transfer_between_heads_carries_the_trunk():
    source, model = FCN(2, [1], trunk=TINY, head="reconstruction"), FCN(3, [2], trunk=TINY)
    fcn.transfer(model, source.state_dict())
    assert torch.equal(model.fc7.weight, source.fc7.weight)


@pytest.mark.parametrize("layers", [3, 7])
def test_frozen_layers_do_not_move(layers, pixels, masks):
    model = FCN(2, [0], trunk=TINY)
    fcn.transfer(model, FCN(3, [1], trunk=TINY).state_dict(), layers, freeze=True)
    before = weights(model)
    fitted(model, pixels, masks, epochs=3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (name in parts(layers)), name


@pytest.mark.parametrize(
    ("change", "layers", "message"),
    [
        ({}, 8, "layers must be at most 7, got 8"),
        ({}, -1, "layers must be"),
        ({}, "conv1", "layers must be"),
        ({"fc6.weight": None}, 7, r"hold no fc6\.weight.*state_dict of an FCN"),
        (
            {"fc6.weight": torch.zeros(8, 4, 3, 3)},
            7,
            r"fc6\.weight is \(8, 4, 3, 3\) in the weights and \(4, 4, 3, 3\) in the network",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_change_nothing(change, layers, message):
    model = FCN(3, [0], trunk=TINY)
    state = weights(FCN(3, [1], trunk=TINY)) | change
    before = weights(model)
    with pytest.raises(ValueError, match=message):
        fcn.transfer(model, {k: v for k, v in state.items() if v is not None}, layers)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)


# --- the weights of ImageNet ----------------------------------------------------------------------


@pytest.fixture
def published(sandbox, monkeypatch):
    """A small file in the layout of torchvision's, where the real one is looked for."""
    shapes = dict(ALEXNET)
    for place, shape in ((1, (8, 256 * 36)), (4, (8, 8)), (6, (10, 8))):
        shapes[f"classifier.{place}"] = shape
    draw, state = torch.Generator().manual_seed(0), {}
    for name, shape in shapes.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=draw)
        state[f"{name}.bias"] = torch.randn(shape[0], generator=draw)
    path = paths.cache() / imagenet.FILE
    path.parent.mkdir()
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    archive = imagenet.Archive(imagenet.FILE, digest, imagenet.ALEXNET.mirrors)
    monkeypatch.setattr(imagenet, "ALEXNET", archive)
    return state


def test_imagenet_weights_load_into_the_trunk(published):
    model = FCN(3, [0], dense=8)
    fcn.transfer(model, fcn.imagenet_state())
    for name in list(ALEXNET)[1:]:
        assert torch.equal(model.get_parameter(f"{name}.weight"), published[f"{name}.weight"])
    x = torch.randn(1, 256, 6, 6, generator=torch.Generator().manual_seed(1))
    for layer, place in ((model.fc6, 1), (model.fc7, 4)):
        weight, bias = (published[f"classifier.{place}.{kind}"] for kind in ("weight", "bias"))
        expected = F.linear(x.flatten(1), weight, bias)
        torch.testing.assert_close(layer(x).flatten(1), expected, rtol=1e-4, atol=1e-3)
        x = expected[:, :, None, None]


def test_imagenet_s_first_layer_sees_what_it_was_trained_on(published):
    weight, bias = (published[f"features.0.{kind}"].double() for kind in ("weight", "bias"))
    ours = {key: value.double() for key, value in fcn.imagenet_state().items()}
    pixels = drawn((2, 40, 40, 3), 256).to(torch.uint8)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()
    theirs = ((pixels.double() / 255 - mean) / std).permute(0, 3, 1, 2)
    found = F.conv2d(
        Images(pixels).plain(slice(None)).double(),
        ours["features.0.weight"],
        ours["features.0.bias"],
    )
    torch.testing.assert_close(found, F.conv2d(theirs, weight, bias), rtol=1e-4, atol=1e-3)


def test_the_row_of_imagenet_is_fine_tuned(published):
    """In the network of preset ``paper``, whose fc6 and fc7 are not those of the file."""
    grid = transfer.table("paper").items()
    run = next(run for (row, *_), run in grid if row == "ImageNetModel")
    data = {"dataset": "scenes", "images": 90, "objects": 4}
    run = replace(run, **data, size=64, epochs=1, batch_size=4)
    model, _ = transfer.finetune(replace(run, frozen=True), pretraining.pretrain(run))
    for name in list(ALEXNET)[1:5]:
        assert torch.equal(model.get_parameter(f"{name}.weight"), published[f"{name}.weight"])
    (result,) = transfer.compute([run], "cpu")
    assert 0 <= result["metrics"]["last"]["mean_iu"] <= 1


@pytest.mark.parametrize("changes", [{"layers": 7}, {"network": "half"}])
def test_imagenet_s_weights_fit_one_network_only(changes):
    with pytest.raises(ValueError, match="fit conv1 to conv5 of network='alexnet'"):
        TransferRun(
            **{"images": 40, "objects": 1, "source": "imagenet"}
            | {"network": "alexnet", "layers": 5}
            | changes
        )


def test_missing_weights_name_their_place_and_their_checksum(sandbox):
    with pytest.raises(DataError, match=rf"fetch imagenet`, or .*{imagenet.FILE}.*7be5be79"):
        fcn.imagenet_state()


def test_another_weights_file_is_refused(published):
    path = paths.cache() / imagenet.FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"another file.*delete it"):
        fcn.imagenet_state()


def test_the_checksum_is_the_one_in_the_published_name():
    assert imagenet.ALEXNET.sha256.startswith(imagenet.FILE.split("-")[-1].removesuffix(".pth"))


def test_the_command_says_where_the_weights_are_to_be_put(published, capsys):
    path = paths.cache() / imagenet.FILE
    path.unlink()
    assert cli.main(["data", "where"]) == 0
    assert f"imagenet: {path} (missing; `nbkit data fetch imagenet`" in capsys.readouterr().out


def test_weights_that_are_there_are_not_downloaded_again(published, capsys):
    assert cli.main(["data", "fetch", "imagenet"]) == 0
    assert f"imagenet: {paths.cache() / imagenet.FILE} (there)" in capsys.readouterr().out
