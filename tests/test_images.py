"""Batches of images against a slow way to make them, one image at a time."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nbkit import models
from nbkit.checks import VOID
from nbkit.images import MEAN, STD, Images


@pytest.fixture
def pixels():
    return torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    )


def slow(image, down, right, mirrored, reach=3):
    """Mirror, pad with the edge, cut out what the shift shows, normalise."""
    high, wide, _ = image.shape
    image = image[:, ::-1] if mirrored else image
    padded = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    image = padded[reach + down :][:high, reach + right :][:, :wide]
    return ((image.astype(np.float64) - MEAN) / STD).transpose(2, 0, 1)


def test_augmentation_equals_mirroring_padding_and_cutting(pixels):
    images = Images(pixels)
    images.begin_epoch(seed=3, epoch=1)
    index = torch.tensor([7, 0, 39, 7, 12])
    expected = [slow(pixels[i].numpy(), *images.moves[:, i].tolist()) for i in index]
    np.testing.assert_allclose(images.augmented(index), expected, rtol=1e-5, atol=1e-6)


def test_shifts_reach_a_tenth_either_way_and_half_are_mirrored(pixels):
    images = Images(pixels, torch.arange(40).repeat(100))
    images.begin_epoch(0, 0)
    down, right, mirrored = images.moves
    for moves in (down, right):
        values, counts = moves.unique(return_counts=True)
        assert values.tolist() == [-3, -2, -1, 0, 1, 2, 3]
        assert counts.min() > 450  # of 571 expected
    assert mirrored.float().mean() == pytest.approx(0.5, abs=0.04)


def test_moves_follow_from_seed_and_epoch_alone(pixels):
    def moves(seed, epoch):
        images = Images(pixels)
        images.begin_epoch(seed, epoch)
        return images.moves

    assert torch.equal(moves(1, 2), moves(1, 2))
    assert not torch.equal(moves(1, 2), moves(1, 3))
    assert not torch.equal(moves(1, 2), moves(2, 2))


def test_without_shift_and_flip_a_batch_is_plain(pixels):
    images = Images(pixels, shift=0.0, flip=False)
    images.begin_epoch(0, 0)
    index = torch.arange(40)
    assert torch.equal(images.augmented(index), images.plain(index))


def test_normalisation_is_by_channel_on_the_scale_of_bytes(pixels):
    expected = (pixels.double() - torch.tensor(MEAN)) / torch.tensor(STD)
    found = Images(pixels).plain(slice(0, 40))
    torch.testing.assert_close(found.permute(0, 2, 3, 1).double(), expected, rtol=1e-5, atol=1e-6)


def test_batches_lie_channels_last(pixels):
    images = Images(pixels)
    images.begin_epoch(0, 0)
    for batch in (images.augmented(torch.arange(8)), images.plain(slice(8))):
        assert batch.is_contiguous(memory_format=torch.channels_last)


def test_examples_are_the_chosen_rows(pixels):
    chosen = torch.tensor([5, 5, 2])
    assert torch.equal(Images(pixels, chosen).plain(slice(0, 3)), Images(pixels).plain(chosen))
    assert len(Images(pixels, chosen)) == 3


@pytest.fixture
def places():
    """Images whose pixels say where they are, and masks that say the same."""
    high, wide, count = 12, 10, 5
    place = torch.arange(high * wide).view(high, wide)
    pixels = torch.stack([place, place, place], -1).to(torch.uint8).repeat(count, 1, 1, 1)
    pixels[..., 2] = torch.arange(count).view(-1, 1, 1)
    masks = (place + 120 * torch.arange(count).view(-1, 1, 1)).long()
    masks[masks == VOID] = 0
    return pixels, masks


def test_a_mask_moves_with_its_image(places):
    pixels, masks = places
    rows = torch.tensor([4, 2, 2, 0])
    images = Images(pixels, rows, shift=0.3, mean=(0, 0, 0), std=(1, 1, 1))
    images.begin_epoch(1, 0)
    index = torch.tensor([3, 1, 2, 0, 1])
    seen, moved = images.augmented(index), images.moved(index, masks[rows])
    known = moved != VOID
    expected = seen[:, 0].long() + 120 * seen[:, 2].long()
    expected[expected == VOID] = 0
    assert torch.equal(moved[known], expected[known])
    assert (moved[1] != moved[4]).sum() == 0  # the same example twice
    assert (moved[1] != masks[2]).any()  # it did move


def test_what_comes_from_beyond_the_border_is_void_and_nothing_else(places):
    pixels, masks = places
    images = Images(pixels, shift=0.3)
    images.begin_epoch(1, 0)
    down, right, _ = images.moves
    moved = images.moved(torch.arange(5), masks)
    for i in range(5):
        inside = (12 - abs(int(down[i]))) * (10 - abs(int(right[i])))
        assert (moved[i] != VOID).sum() == inside


def test_masks_without_shift_and_flip_are_the_same(places):
    pixels, masks = places
    images = Images(pixels, shift=0.0, flip=False)
    images.begin_epoch(0, 0)
    index = torch.tensor([1, 4])
    assert torch.equal(images.moved(index, masks), masks[index])


@pytest.mark.parametrize("change", [lambda p: p.float(), lambda p: p[..., :2], lambda p: p[0]])
def test_what_is_not_an_image_is_refused(pixels, change):
    with pytest.raises(ValueError, match="pixels must be"):
        Images(change(pixels))


def test_a_batch_and_a_forward_pass_stay_on_a_gpu_without_waiting_for_it():
    with FakeTensorMode(), torch.device("cuda"):
        images = Images(torch.zeros(8, 32, 32, 3, dtype=torch.uint8))
        images.moves = torch.zeros(3, 8, dtype=torch.int64)
        network = models.VGG8(11, [0]).eval()
        for batch in (images.augmented(torch.arange(4)), images.plain(slice(0, 4))):
            logits = network(batch[None])
            assert logits.device.type == "cuda"
            assert logits.shape == (1, 4, 11)
