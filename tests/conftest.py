"""What every test shares: one thread, and a generator that starts from the same seed."""

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Keep torch to one thread: the tests are small, and pytest-xdist runs several at once."""
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
