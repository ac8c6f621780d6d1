"""Acts: a disk that refuses."""

import errno
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from mmengine.hooks import Hook

from tests.faults.calls import failing


class Refuse(Hook):
    """The system refuses a call of the writer, for one checkpoint, however often it tries.

    Args:
        file: name of the checkpoint.
        call: of `os`.
        code: of the error.
        share: of the file's bytes that are written before.
    """

    def __init__(self, file, call, code, share=0.0):
        self.file, self.call, self.code, self.share = file, call, code, share

    def before_train(self, runner):
        size = 3 * sum(v.numel() * v.element_size() for v in runner.model.state_dict().values())
        refusal = failing(
            self.call,
            getattr(errno, self.code),
            after_bytes=int(self.share * size),
            only=lambda first, *others, **named: self.file in _name_of(first),
        )
        refusal.__enter__()  # for the rest of the process
        self._refusal = refusal


class FullLog(Hook):
    """Log file and scalars are on a disk that is full, from a step on."""

    def __init__(self, step):
        self.step = step

    def after_step(self, runner):
        if runner.iter != self.step:
            return
        for handler in runner.logger.handlers:
            if isinstance(handler, logging.FileHandler):
                os.dup2(os.open('/dev/full', os.O_WRONLY), handler.stream.fileno())
        for scalars in Path(runner.work_dir).rglob('scalars.json'):
            scalars.unlink()
            scalars.symlink_to('/dev/full')


class Ballast(Hook):
    """Fills a small file system after one step, and frees it after another."""

    def __init__(self, folder, first, last):
        self.file, self.first, self.last = Path(folder) / 'ballast', first, last

    def after_step(self, runner):
        if runner.iter == self.first:
            with suppress(OSError), self.file.open('wb', buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        if runner.iter == self.last:
            time.sleep(0.2)  # for a save that is to fail
            self.file.unlink()


def _name_of(file):
    return os.readlink(f'/proc/self/fd/{file}') if isinstance(file, int) else str(file)
