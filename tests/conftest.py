"""Every test starts alike: one thread (several tests run at once) and the same seeds."""

import gc
import os
import re

import pytest
import torch
from mmengine.config import config as mmengine_config

from mae.utils.seeding import seed_generators

torch.set_num_threads(1)
# autograd starts threads for other devices at its first use in a process, and with them no fork of
# the process can use it. There are such devices once torch.compile is loaded, but not here.
torch.ones(1, requires_grad=True).sum().backward()
# No test cuts the power: what is written need not have reached the disk, for which all would wait.
os.fsync = lambda descriptor: None
# mmengine has yapf lay out the config twice a run, which takes longer than most runs here. The text
# means the same without.
mmengine_config.FormatCode = lambda text, **_: (re.sub(r'(?m)^(\w+)=', r'\1 = ', text), True)
# A fork must not collect garbage of this process: what has a thread here aborts there.
os.register_at_fork(after_in_child=gc.freeze)
gc.disable()  # until all tests are imported: in what is imported there is no garbage to look for


@pytest.fixture(autouse=True)
def _seeded():
    seed_generators(0)


# Where something was compiled or exported, autograd refuses to work in a forked process.
_LAST = ('test_onnx_export.py', 'test_inference.py')


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name in _LAST)


def pytest_collection_finish():
    gc.freeze()  # a forked process that looked through the modules would copy their pages
    gc.enable()
