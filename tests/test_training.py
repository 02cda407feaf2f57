"""The training loop against a plain one: optimiser, schedule, order, mixing, fading."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nbkit import batches, losses, models, train
from nbkit.images import Images
from nbkit.optim import Adam, learning_rate_at


def points(size=70, seed=0):
    draw = np.random.default_rng(seed)
    labels = torch.from_numpy(draw.integers(0, 3, size))
    return torch.from_numpy(draw.normal(size=(size, 4))).float() + labels[:, None], labels


@pytest.mark.parametrize("fused", [False, True])
def test_adam_steps_as_torch_s_own(fused, rng):
    start, slopes = (torch.from_numpy(rng.normal(size=(5, 7))).float() for _ in range(2))
    ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
    optimizer, reference = Adam([ours], fused=fused), torch.optim.Adam([theirs], fused=fused)
    for step in range(5):
        rate = 0.01 * (step + 1)
        ours.grad, theirs.grad = (slopes * (step - 1.5) for _ in range(2))
        optimizer.step(rate)
        reference.param_groups[0]["lr"] = rate
        reference.step()
        assert torch.equal(ours, theirs)


def test_one_cycle_rises_over_the_first_three_tenths_and_falls_as_a_cosine_to_0():
    rate = learning_rate_at("one_cycle", 2.0, 100)
    rates = np.array([rate(step) for step in range(100)])
    np.testing.assert_allclose(rates[:30], 2 * np.arange(1, 31) / 30)
    np.testing.assert_allclose(rates[29:], 1 + np.cos(np.pi * np.arange(71) / 71))
    assert 0 < rates[-1] < 0.002


def test_every_epoch_has_an_order_of_its_own_that_follows_from_the_seed():
    first, again, other = batches.batch_order([3, 3, 4], 50, 0)
    assert first.sort().values.tolist() == list(range(50))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, batches.batch_order([3], 50, 1)[0])


def test_a_seed_gives_this_order_of_examples_on_every_platform():
    # written down, since runs of two machines are paired by their seed: both must see the same
    assert batches.batch_order([0], 10, 1).tolist() == [[9, 1, 7, 3, 5, 2, 6, 4, 8, 0]]


def test_a_training_is_that_of_a_plain_loop():
    inputs, labels = points()
    made, plain = (models.MLP((4, 6, 3), [5]) for _ in range(2))
    history = train.fit(
        made,
        inputs,
        labels[None],
        losses.create("cross_entropy"),
        epochs=3,
        batch_size=32,
        learning_rate=0.02,
        schedule="one_cycle",
    )
    optimizer, steps, means = torch.optim.Adam(plain.parameters()), math.ceil(70 / 32), []
    rate = learning_rate_at("one_cycle", 0.02, 3 * steps)
    for epoch in range(3):
        plain.begin_epoch(epoch)
        seen = []
        for i, index in enumerate(batches.batch_order([5], 70, epoch)[0].split(32)):
            optimizer.param_groups[0]["lr"] = rate(epoch * steps + i)
            optimizer.zero_grad()
            loss = F.cross_entropy(plain(inputs[index][None])[0], labels[index])
            loss.backward()
            optimizer.step()
            seen.append(loss.item())
        means.append(np.mean(seen))
    np.testing.assert_allclose(torch.cat(history.losses), means, rtol=1e-5)
    for ours, theirs in zip(made.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_training_on_images_is_that_of_a_plain_loop():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 32, 32, 3), generator=draw).to(torch.uint8)
    labels = torch.arange(40) % 3
    made, plain = (models.VGG8(3, [5]) for _ in range(2))
    loss, loop = losses.create("cross_entropy"), {"batch_size": 16, "learning_rate": 1e-3}
    train.fit(made, Images(pixels), labels[None], loss, epochs=2, **loop)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3, fused=True)
    images = Images(pixels)
    for epoch in range(2):
        plain.begin_epoch(epoch)
        images.begin_epoch(5, epoch)
        for index in batches.batch_order([5], 40, epoch)[0].split(16):
            optimizer.zero_grad()
            F.cross_entropy(plain(images.augmented(index)[None])[0], labels[index]).backward()
            optimizer.step()
    for ours, theirs in zip(made.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (5,), (8, 8)])
def test_a_batch_of_images_has_the_targets_of_its_examples(shape):
    rows = torch.tensor([3, 0, 2, 1])  # of each example
    pixels = torch.arange(4).to(torch.uint8).view(4, 1, 1, 1).expand(4, 8, 8, 3)
    examples = Images(pixels, rows, shift=0, flip=False, mean=(0, 0, 0), std=(1, 1, 1))
    examples.begin_epoch(0, 0)
    targets = rows.view(1, 4, *[1 for _ in shape]).expand(1, 4, *shape)
    index = torch.tensor([[2, 0, 3]])
    x, y = batches.gather(examples, targets.contiguous(), index)
    numbers = torch.tensor([2, 3, 1])
    assert torch.equal(x, numbers.view(1, 3, 1, 1, 1).expand(1, 3, 3, 8, 8).float())
    assert torch.equal(y, numbers.view(1, 3, *[1 for _ in shape]).expand(1, 3, *shape))
    assert torch.equal(*batches.gather(examples, None, index))


def test_an_epoch_is_scored_in_evaluation_mode_and_without_gradients():
    class Seen(models.MLP):
        def forward(self, x):
            modes.append((self.training, torch.is_grad_enabled()))
            return super().forward(x)

    modes, (inputs, labels) = [], points()
    model, loss = Seen((4, 3), [0]), losses.create("cross_entropy")
    loop = {"epochs": 2, "batch_size": 70, "learning_rate": 0.01}
    train.fit(model, inputs, labels[None], loss, on_epoch=lambda _: model(inputs[None]), **loop)
    assert modes == [(True, True), (False, False)] * 2


def test_a_loss_hears_of_every_epoch(monkeypatch):
    loss, heard = losses.create("exponential"), []
    monkeypatch.setattr(loss, "set_epoch", heard.append)
    inputs, labels = points()
    model = models.MLP((4, 3), [0])
    train.fit(model, inputs, labels[None], loss, epochs=4, batch_size=32, learning_rate=0.01)
    assert heard == [0, 1, 2, 3]


def test_partners_are_labelled_positives_of_the_batch_or_any_but_void():
    y = torch.tensor([[0, 2, 0, 255, 1]])
    pick = torch.tensor([[0.0, 0.49, 0.51, 0.99, 0.2]])
    assert batches.partners("labelled", y, pick).tolist() == [[1, 1, 4, 4, 1]]
    assert batches.partners("any", y, pick).tolist() == [[0, 1, 2, 4, 0]]
    assert batches.partners("any", y.clamp(max=2), pick).tolist() == [[0, 2, 2, 4, 1]]
    assert batches.partners("labelled", 0 * y, pick).tolist() == [[0, 2, 2, 4, 1]]


@pytest.mark.parametrize("name", ["vpu", "dist_pu(warm_up=0)"])
def test_a_network_sees_the_mixture_of_each_example_with_its_partner(name):
    class Seen(models.MLP):
        def forward(self, x):
            batch.append(x)
            said.append(super().forward(x))
            return said[-1]

    batch, said, (inputs, labels) = [], [], points(12)
    loss = losses.build(name, kept=0.5, prior=0.5, num_classes=3)
    model = Seen((4, 3), [7])
    history = train.fit(
        model, inputs, labels[None], loss, epochs=1, batch_size=12, learning_rate=0.01
    )
    share, pick = batches.mixing(loss, [7], 0, 1, 12, torch.device("cpu"))
    order = batches.batch_order([7], 12, 0)[0]
    partner = batches.partners(loss.mixup, labels[order][None], pick[:, 0])[0]
    x, g = inputs[order], share[0, 0]
    assert torch.equal(batch[0][0], x)
    torch.testing.assert_close(batch[1][0], g * x + (1 - g) * x[partner])
    alone, mixed = (logits[0].detach() for logits in said)
    wanted = loss.with_mixup(alone, labels[order], mixed, partner, g)
    assert not torch.isclose(wanted, loss(alone, labels[order]))
    torch.testing.assert_close(history.losses[0][0], wanted)


@pytest.mark.parametrize("name", ["vpu", "dist_pu"])
@pytest.mark.parametrize("epoch", [0, 4, 10])
def test_a_risk_that_mixes_is_faded_in_as_the_others(name, epoch, rng):
    logits, mixed = (torch.from_numpy(rng.normal(size=(9, 2))) for _ in range(2))
    target = torch.tensor([0, 1] * 4 + [0])
    more = mixed, torch.arange(9).flip(0), torch.tensor(0.4)
    faded = losses.FadeIn(losses.build(name, kept=0.5, prior=0.4, num_classes=2))
    faded.set_epoch(epoch)
    share = 0.95 ** (epoch * (epoch + 1) / 2) if epoch < 10 else 0
    wanted = share * F.cross_entropy(logits, target)
    wanted = wanted + (1 - share) * faded.bare.with_mixup(logits, target, *more)
    torch.testing.assert_close(faded.with_mixup(logits, target, *more), wanted)
