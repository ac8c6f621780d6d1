"""Runs that are killed and resumed: each life has a log folder of its own."""

import contextlib
from pathlib import Path


class Killed(Exception):  # noqa: N818  # as said of a run
    pass


def train_life(runner, number, kill=None):
    """Train, with a hook that may raise `Killed`, to the end or to there; the runner."""
    if kill is not None:
        runner.register_hook(kill)
    with contextlib.suppress(Killed):
        runner.train()
    log_dir = Path(runner.log_dir)  # mmengine names it by the second
    log_dir.rename(log_dir.with_name(f'life{number}'))
    return runner
