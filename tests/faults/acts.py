"""What may be done to a run from inside it: each act is a hook that `MAE_FAULT` names."""

import hashlib
import os
import signal
import threading
import time

import torch
from mmengine.hooks import Hook

from mae.models.preprocessors.dense import split_maps, split_masks, split_objects
from mae.utils.digest import weights_sha256
from tests.faults.notes import RANK, note
from tests.faults.refusals import Ballast, FullLog, Refuse
from tests.faults.stopwatch import Cost


class Signal(Hook):
    """Sends this process a signal at a step (from 1), in the midst of something.

    Args:
        at: 'step' (in the forward pass), 'end' (of the step), 'data' (the main process waits for
            a worker), 'save' (the writer is at work), 'evaluation'.
        step: number of the step; for 'save' and 'evaluation' the first of them from there on.
        name: of the signal.
        rank: of the process that gets it.
    """

    priority = 'VERY_HIGH'

    def __init__(self, at, step, name='SIGTERM', rank=0):
        self.at, self.step, self.name = at, step, name
        self.is_armed = rank == RANK

    def send(self):
        if self.is_armed:
            self.is_armed = False
            os.kill(os.getpid(), getattr(signal, self.name))

    def before_train(self, runner):
        if self.at in ('step', 'evaluation'):
            runner.bare_model.register_forward_pre_hook(lambda *_: self._in_forward(runner))
        elif self.at == 'data':
            self._linger(runner.train_dataloader)
        elif self.at == 'save':
            self._in_sync(runner)

    def after_train_iter(self, runner, *args, **kwargs):
        if self.at == 'end' and runner.iter + 1 == self.step:
            self.send()

    def _in_forward(self, runner):
        training = runner.bare_model.training
        if (self.at == 'step' and training and runner.iter + 1 == self.step) or (
            self.at == 'evaluation' and not training and runner.iter >= self.step
        ):
            self.send()

    def _linger(self, loader):
        """The worker that is to read the step waits until the main process waits for it."""
        main, read = os.getpid(), loader.dataset.__getitems__
        (wanted,) = [batch[0] for n, batch in enumerate(loader.batch_sampler) if n + 1 == self.step]

        def slow(requests):
            if self.is_armed and requests[0] == wanted:
                time.sleep(0.5)
                os.kill(main, getattr(signal, self.name))
                time.sleep(0.5)
            return read(requests)

        loader.dataset.__getitems__ = slow

    def _in_sync(self, runner):
        real = os.fsync

        def sync(descriptor):
            if threading.current_thread().name == 'checkpoint-writer' and runner.iter >= self.step:
                self.send()
                time.sleep(0.3)
            real(descriptor)

        os.fsync = sync


class Turn(Signal):
    """`Signal`, with a note of the weights from which the run starts."""

    def before_train(self, runner):
        note('start', weights_sha256(runner.bare_model.state_dict()))
        super().before_train(runner)


class DieAtCall(Hook):
    """SIGKILL before a system call of a save.

    Args:
        save: number of the save, from 1.
        call: number of the call in it, from 1; 0 only counts.
    """

    NAMES = ('open', 'write', 'fsync', 'close', 'replace', 'rename', 'unlink')

    def __init__(self, save, call):
        self.save, self.call = save, call
        self.saves, self.seen = 0, []

    def before_train(self, runner):
        for name in self.NAMES:
            setattr(os, name, self._replacement(getattr(os, name), name))

    def before_save_checkpoint(self, runner, checkpoint):
        """The save before has ended: the writer does one at a time, and only its thread counts."""
        if self.saves == self.save:
            note('calls', self.seen)
        self.saves += 1
        self.seen = []

    def _replacement(self, real, name):
        def function(*args, **kwargs):
            if self.saves == self.save and threading.current_thread().name == 'checkpoint-writer':
                self.seen.append(name)
                if len(self.seen) == self.call:
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return function


class Record(Hook):
    """Notes the samples and keys of each step, with the masks, or the digests of what they are."""

    def before_train(self, runner):
        self._masks = []
        masker = getattr(runner.bare_model, 'masker', None)
        if masker is not None:
            masker.register_forward_hook(lambda module, inputs, mask: self._masks.append(mask))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        seen = []
        if 'shapes' in data_batch[0]:
            rest = [_digests(batch) for batch in data_batch]
        else:
            rest = [mask.ids_keep.sort(1)[0].tolist() for mask in self._masks]
        for batch, own in zip(data_batch, rest, strict=True):
            columns = batch['ids'].tolist(), batch['keys'].tolist(), own
            seen += [[i, key, kept] for i, key, kept in zip(*columns, strict=True)]
        self._masks.clear()
        note('steps', {'step': runner.iter + 1, 'seen': seen}, append=True)


def _digests(batch):
    """Of image, map and objects of each sample of a dense batch."""
    parts = [[image] for image in batch['inputs']]
    if 'maps' in batch:
        for part, labels in zip(
            parts, split_maps(batch['maps'], batch['map_sizes'].tolist()), strict=True
        ):
            part.append(labels)
    if 'counts' in batch:
        counts, sizes = batch['counts'].tolist(), batch['mask_sizes'].tolist()
        masks = split_masks(batch['masks'], counts, sizes)
        for part, things, own in zip(parts, split_objects(batch, counts), masks, strict=True):
            part += [*things.values(), own]
    return [
        hashlib.sha256(b''.join(tensor.numpy().tobytes() for tensor in part)).hexdigest()
        for part in parts
    ]


class Spoil(Hook):
    """Makes a loss or a gradient NaN on one rank.

    Args:
        what: 'loss' or 'gradient'.
        first, last: steps (from 1) in which it happens; no last: for good.
        rank: of the process.
    """

    def __init__(self, what, first, last=None, rank=1):
        self.what, self.first, self.last = what, first, last
        self.is_meant = rank == RANK

    def before_train(self, runner):
        def is_bad():
            step = runner.iter + 1
            return self.is_meant and self.first <= step and (not self.last or step <= self.last)

        if self.what == 'loss':
            update = runner.optim_wrapper.update_params
            runner.optim_wrapper.update_params = lambda loss: update(
                loss * torch.nan if is_bad() else loss
            )
        else:
            # That of a weight would not do: sharded weights have their gradients from elsewhere.
            def spoil(module, arguments, output):
                output.register_hook(lambda grad: grad * torch.nan if is_bad() else None)

            runner.bare_model.encoder.norm.register_forward_hook(spoil)

    def after_run(self, runner):
        note('weights', weights_sha256(runner.bare_model.state_dict()))


class TimeChoice(Hook):
    """How long it takes to choose the checkpoint to continue from."""

    def before_run(self, runner):
        import mae.engine.start as module

        real = module.choose_checkpoint

        def timed(*args, **options):
            start = time.perf_counter()
            choice = real(*args, **options)
            note('choice', time.perf_counter() - start)
            return choice

        module.choose_checkpoint = timed


ACTS = {
    act.__name__: act
    for act in (Signal, Turn, DieAtCall, Spoil, TimeChoice, Refuse, FullLog, Ballast, Cost)
}
