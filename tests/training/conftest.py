"""Small tensors train fastest on one thread, and on a busy machine by a factor of ten."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)
