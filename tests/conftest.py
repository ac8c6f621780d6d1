"""Every test starts alike: one thread (several tests run at once) and the same seeds."""

import random

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


# Where something was compiled or exported, autograd refuses to work in a forked process.
_LAST = ('test_onnx_export.py', 'test_inference.py')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name in _LAST)
