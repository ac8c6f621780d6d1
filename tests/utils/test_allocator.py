"""What is freed is there for the next use, or goes back; each in a process of its own."""

import os
import platform
import subprocess
import sys

import pytest

# Takes, fills and frees a block that the kernel would be asked for, and counts the new pages.
COUNT = """
import resource
import sys
import torch
import mae.engine  # as a run has it: in a bare process the heap ends elsewhere
from mae.utils import allocator

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones({bytes} // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for word in sys.argv[1:]:
    assert getattr(allocator, word + '_freed_memory')()
print(min(new_pages() for _ in range(5)))
"""
BYTES = 100 * 2**20
PAGES = BYTES // os.sysconf('SC_PAGE_SIZE')

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc here')


@pytest.fixture
def new_pages():
    def count(*words: str) -> int:
        code = COUNT.format(bytes=BYTES)
        command = [sys.executable, '-c', code, *words]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return count


def test_by_itself_glibc_gives_back(new_pages):
    assert new_pages() > PAGES / 2


def test_kept_memory_has_no_new_pages(new_pages):
    assert new_pages('keep') < PAGES / 100


def test_a_worker_gives_back_what_its_parent_would_keep(new_pages):
    assert new_pages('keep', 'return') > PAGES / 2
