"""VGG8 against the author's description, and against itself written out plainly."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nbkit import layers, models

LAYERS = {  # weights, biases
    "convolutions.0": (3 * 3 * 3 * 32, 32),
    "convolutions.1": (3 * 3 * 32 * 32, 32),
    "convolutions.2": (3 * 3 * 32 * 64, 64),
    "convolutions.3": (3 * 3 * 64 * 64, 64),
    "convolutions.4": (3 * 3 * 64 * 128, 128),
    "convolutions.5": (3 * 3 * 128 * 128, 128),
    "hidden": (2048 * 512, 512),
    "output": (512 * 11, 11),
}


@pytest.fixture
def network():
    return models.VGG8(11, [0])


def test_every_layer_has_the_author_s_size(network):
    found = {name: p.numel() for name, p in network.named_parameters()}
    expected = {
        f"{layer}.{kind}": size
        for layer, sizes in LAYERS.items()
        for kind, size in zip(("weight", "bias"), sizes, strict=True)
    }
    assert found == expected
    assert sum(found.values()) == 1_341_739


def test_weights_start_he_normal_cut_at_two_standard_deviations(network):
    for name, (size, _) in LAYERS.items():
        weight = network.get_parameter(f"{name}.weight")
        std = (2 * weight.shape[0] / size) ** 0.5
        assert weight.abs().max() <= 2 * std
        assert weight.std().item() == pytest.approx(
            0.8796 * std, rel=0.05
        )  # that of the cut normal
        assert not network.get_parameter(f"{name}.bias").any()


def test_the_seed_alone_decides_the_weights(network):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        twin, other = models.VGG8(11, [0], dropout=0.7), models.VGG8(11, [1])
    for own, same, different in zip(
        network.parameters(), twin.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(own, same)
        assert own.ndim == 1 or not torch.equal(own, different)


def test_it_computes_what_the_description_says(network):
    layers = []
    for i, convolution in enumerate(network.convolutions):
        layers += [convolution, nn.LeakyReLU(0.2)] + [nn.MaxPool2d(2)] * (i % 2)
    plain = nn.Sequential(*layers)
    x = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.no_grad():
        features = plain(x).permute(0, 2, 3, 1).reshape(3, 2048)
        expected = network.output(network.hidden(features).relu())
        torch.testing.assert_close(network(x[None]), expected[None], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.84])
@pytest.mark.parametrize("shape", [(64, 512), (16, 32, 8, 8)])
def test_dropout_drops_its_share_and_keeps_the_mean(reference, rate, shape):
    network = models.VGG8(11, [0], reference=reference)
    network.begin_epoch(0)
    dropped = network._drop(torch.ones(shape), rate)
    assert (dropped == 0).float().mean() == pytest.approx(rate, abs=0.015)
    assert dropped.max() == pytest.approx(1 / (1 - rate), rel=1e-4)


def test_a_dropout_beside_1_drops_nearly_all():
    network = models.VGG8(11, [0], dropout=1 - 1e-9)
    network.begin_epoch(0)
    kept = network._drop(torch.ones(64, 512), network.rates[-1])
    assert (kept == 0).float().mean() > 0.99
    assert kept.isfinite().all()


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_values_are_dropped_independently_of_each_other(network, rate):
    network.begin_epoch(0)
    first, second = (
        (network._drop(torch.ones(128, 512, 8, 8), rate) == 0).double().flatten() for _ in range(2)
    )
    shifted = [first.roll(lag) for lag in (1, 2, 3, 4, 512)]  # four values come from one number
    for other in (second, *shifted):
        together = torch.corrcoef(torch.stack([first, other]))[0, 1]
        assert abs(together) < 5 / len(first) ** 0.5


@pytest.mark.parametrize("training", [True, False])
def test_short_cuts_of_fp32_change_last_digits_alone(monkeypatch, training):
    x = torch.randn(1, 37, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, parts, real = [], set(), layers.in_parts
    monkeypatch.setattr(layers, "in_parts", lambda *given: parts.add(given[2] < 37) or real(*given))
    for quick in (True, False):
        monkeypatch.setattr(layers, "is_fp32_on_avx512", lambda x, quick=quick: quick)
        network = models.VGG8(11, [0]).train(training)
        network.begin_epoch(0)  # dropout is drawn anew: its masks have to be the same
        logits = network(x)
        logits.square().sum().backward()
        found.append([logits.detach(), *(p.grad for p in network.parameters())])
    assert parts == {True, False}
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 1e-5 * other.norm()


@pytest.mark.parametrize("capability", ["AVX512", "AVX2"])
def test_short_cuts_of_fp32_are_for_fp32_with_avx512(monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    x = torch.ones(1)
    assert layers.is_fp32_on_avx512(x) == (capability == "AVX512")
    assert not layers.is_fp32_on_avx512(x.bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert not layers.is_fp32_on_avx512(x)


def test_usual_dropout_has_the_bits_of_pytorch():
    x = torch.randn(64, 512, generator=torch.Generator().manual_seed(0))
    usual = layers.usually_dropped(x, 0.3, [torch.Generator().manual_seed(1)])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert torch.equal(usual, F.dropout(x, 0.3))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_has_the_bits_of_pytorch(dtype, layout):
    draw = torch.Generator().manual_seed(0)
    tied = torch.randint(-3, 3, (3, 5, 6, 8), generator=draw)  # most squares tie
    for values in (tied, torch.randn(3, 5, 6, 8, generator=draw)):
        x = values.to(dtype).contiguous(memory_format=layout).requires_grad_()
        y, wanted = layers.pooled(x), F.max_pool2d(x, 2)
        upstream = torch.randn(y.shape, generator=draw).to(dtype)
        assert torch.equal(y, wanted)
        gradients = [torch.autograd.grad(out, x, upstream)[0] for out in (y, wanted)]
        assert torch.equal(*gradients)
        assert gradients[0].count_nonzero() == y.numel()


def test_dropout_rates_are_the_author_s_and_scale_together():
    assert models.VGG8(11, [0]).rates == pytest.approx((0.2, 0.3, 0.4, 0.5))
    assert models.VGG8(11, [0], dropout=0.7).rates == pytest.approx((0.28, 0.42, 0.56, 0.7))


def test_values_are_dropped_after_every_pool_and_before_the_last_layer(network, monkeypatch):
    places = []
    monkeypatch.setattr(
        network, "drop", lambda x, rate, _: places.append((rate, tuple(x.shape[1:]))) or x
    )
    x = torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    trained = network.train()(x)
    rates, shapes = zip(*places, strict=True)
    assert rates == pytest.approx((0.2, 0.3, 0.4, 0.5))
    assert shapes == ((32, 16, 16), (64, 8, 8), (128, 4, 4), (512,))
    torch.testing.assert_close(trained, network.eval()(x))


def test_masks_follow_from_seed_and_epoch(network):
    def masks(epoch):
        network.begin_epoch(epoch)
        return network._drop(torch.ones(4, 512), 0.5)

    first = masks(3)
    assert torch.equal(masks(3), first)
    assert not torch.equal(masks(4), first)


def test_nothing_is_dropped_in_evaluation(network):
    network.eval()
    x = torch.randn(1, 2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(("seeds", "message"), [([], "number of seeds"), ([0, 1], "one seed")])
def test_a_stack_is_refused(seeds, message):
    with pytest.raises(ValueError, match=message):
        models.VGG8(11, seeds)
