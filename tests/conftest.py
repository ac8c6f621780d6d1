"""Every test starts alike: one thread (several tests run at once) and the same seeds."""

import random

import numpy as np
import pytest
import torch

torch.set_num_threads(1)
# autograd starts threads for other devices at its first use in a process, and with them no fork of
# the process can use it. There are such devices once torch.compile is loaded, but not here.
torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# Where something was compiled or exported, autograd refuses to work in a forked process.
_LAST = ('test_onnx_export.py', 'test_inference.py')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name in _LAST)
