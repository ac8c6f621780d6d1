"""The cache folder, for what can be downloaded or computed again: weights, indexes of data."""

import os
from pathlib import Path


def cache_dir() -> Path:
    """MAE_HOME; unless it is set `mae` in XDG_CACHE_HOME, and without that `~/.cache/mae`."""
    if given := os.environ.get('MAE_HOME'):
        return Path(given).expanduser()
    cache = os.environ.get('XDG_CACHE_HOME', '')
    if not os.path.isabs(cache):  # the standard has a relative one ignored
        cache = '~/.cache'
    return Path(cache, 'mae').expanduser()
