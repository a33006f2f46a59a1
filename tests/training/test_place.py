"""Protects vedit/training/place.py: what is freed within a training stays with the process, and goes back
after it.
"""

import resource
import sys

import pytest
import torch

from vedit.training.place import freed_memory_kept


def page_faults_of_a_fresh_tensor():
    """Of the second of two tensors of 64 MiB, one after the other; its pages are 16384 when they come from
    the system.
    """
    torch.ones(2**24)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_memory_freed_in_one_step_serves_the_next_without_asking_the_system():
    with freed_memory_kept():
        page_faults_of_a_fresh_tensor()
        assert page_faults_of_a_fresh_tensor() < 1000
    assert page_faults_of_a_fresh_tensor() > 10_000
