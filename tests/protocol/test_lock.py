"""Two protocols do not write into one folder."""

import os
import time

import pytest

from mae.protocol.lock import only_one
from mae.utils.errors import ConfigError


def test_second_is_refused_until_the_first_is_done(tmp_path):
    with only_one(tmp_path / 'new'), pytest.raises(ConfigError, match='still at work'):  # noqa: SIM117
        with only_one(tmp_path / 'new'):
            pass
    with only_one(tmp_path / 'new'):
        pass


def test_child_that_outlives_its_parent_keeps_the_lock(tmp_path):
    with only_one(tmp_path):
        child = os.fork()
        if not child:
            time.sleep(60)
            os._exit(0)
    with pytest.raises(ConfigError, match='still at work'), only_one(tmp_path):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with only_one(tmp_path):
        pass
