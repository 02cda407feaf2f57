"""The stacked perceptron against plain torch, and a network against itself alone."""

import pytest
import torch
from torch import nn

from nbkit import models

SIZES = (3, 16, 8, 4)


def inputs(networks, examples=5, features=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(networks, examples, features, generator=generator)


def test_stack_is_plain_sequential_networks():
    model = models.MLP(SIZES, [0, 1, 2], bias_std=1.0)
    x = inputs(3)
    for i in range(3):
        layers = []
        for weight, bias in zip(model.weights, model.biases, strict=True):
            linear = nn.Linear(weight.shape[2], weight.shape[1])
            linear.weight.data, linear.bias.data = weight.data[i], bias.data[i, :, 0]
            layers += [linear, nn.ReLU()]
        plain = nn.Sequential(*layers[:-1])
        torch.testing.assert_close(model(x)[i], plain(x[i]))


def test_weights_depend_on_the_own_seed_alone():
    stack = models.MLP(SIZES, [5, 3, 5, 7], bias_std=1.0)
    for i, seed in enumerate(stack.seeds):
        alone = models.MLP(SIZES, [seed], bias_std=1.0)
        for own, one in zip(stack.parameters(), alone.parameters(), strict=True):
            assert torch.equal(own[i], one[0])


def test_other_seed_other_weights():
    model = models.MLP(SIZES, [0, 1])
    assert all((weight[0] != weight[1]).all() for weight in model.weights)


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_output_depends_on_the_own_seed_alone(dropout):
    stack = models.MLP(SIZES, [5, 3, 5], dropout=dropout)
    x = inputs(1).expand(3, -1, -1)
    stack.begin_epoch(2)
    together = stack(x)
    for i, seed in enumerate(stack.seeds):
        alone = models.MLP(SIZES, [seed], dropout=dropout)
        alone.begin_epoch(2)
        assert torch.equal(together[i], alone(x[:1])[0])


def test_weights_fill_the_glorot_range():
    model = models.MLP((200, 300, 2), [0, 1])
    for weight in model.weights:
        limit = (6 / sum(weight.shape[1:])) ** 0.5
        assert weight.abs().max() <= limit
        assert weight.std().item() == pytest.approx(limit / 3**0.5, rel=0.05)


@pytest.mark.parametrize("std", [0.0, 1.0])
def test_biases_have_the_standard_deviation_asked_for(std):
    model = models.MLP((2, 4000, 2), [0], bias_std=std)
    assert model.biases[0].std().item() == pytest.approx(std, rel=0.05)


def test_dropout_preserves_the_mean():
    """Behind one hidden layer the output is linear in the mask: its mean is that of evaluation."""
    model = models.MLP((3, 16, 2), [0], dropout=0.4)
    x = inputs(1, examples=1).expand(1, 40_000, 3)
    model.begin_epoch(0)
    dropped = model(x)
    error = dropped.std(1) / x.shape[1] ** 0.5
    assert ((dropped.mean(1) - model.eval()(x)[:, 0]).abs() <= 4 * error).all()


def test_dropout_drops_its_share():
    model = models.MLP((1, 50, 2), [0], dropout=0.4)
    model.begin_epoch(0)
    mask = model._mask(torch.ones(1, 50, 2000))
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert (mask == 0).float().mean().item() == pytest.approx(0.4, abs=0.01)


def test_equal_seeds_share_their_dropout_mask():
    model = models.MLP(SIZES, [5, 3, 5], dropout=0.4)
    x = inputs(1).expand(3, -1, -1)
    model.begin_epoch(0)
    y = model(x)
    assert torch.equal(y[0], y[2])
    assert not torch.equal(y[0], y[1])


def test_evaluation_drops_nothing():
    model = models.MLP(SIZES, [0, 1], dropout=0.4).eval()
    plain = models.MLP(SIZES, [0, 1])
    assert torch.equal(model(inputs(2)), plain(inputs(2)))


def test_begin_epoch_restarts_the_masks_of_that_epoch():
    model = models.MLP(SIZES, [0], dropout=0.4)

    def two_batches(epoch):
        model.begin_epoch(epoch)
        return torch.stack([model(inputs(1)), model(inputs(1))])

    first = two_batches(3)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, two_batches(4))
    assert torch.equal(first, two_batches(3))
