"""What is freed is there for the next use, or goes back; each in a fork of a fresh process."""

import os
import platform
import subprocess
import sys

import pytest

# Takes, fills and frees a block that the kernel would be asked for, and counts the new pages.
COUNT = """
import os
import resource
import sys
import torch
import mae.engine  # as a run has it: in a bare process the heap ends elsewhere
from mae.utils import allocator

def new_pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones({bytes} // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for words in sys.argv[1:]:
    if not os.fork():
        for word in words.split():
            assert getattr(allocator, word + '_freed_memory')()
        print(min(new_pages() for _ in range(5)), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""
BYTES = 40 * 2**20  # glibc may keep blocks of up to 32 MiB by itself
PAGES = BYTES // os.sysconf('SC_PAGE_SIZE')

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='no glibc here')


def test_what_is_freed():
    command = [sys.executable, '-c', COUNT.format(bytes=BYTES), '', 'keep', 'keep return']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    by_itself, kept, in_a_worker = map(int, done.stdout.split())
    assert by_itself > PAGES / 2  # glibc gives back
    assert kept < PAGES / 100
    assert in_a_worker > PAGES / 2  # what its parent would keep
