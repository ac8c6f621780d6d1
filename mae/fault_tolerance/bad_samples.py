"""Samples that cannot be read: they are replaced and counted, and too many end the run."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, is_main_process
from mmengine.hooks import Hook

from mae.registry import HOOKS
from mae.utils.errors import ConfigError, DataError
from mae.utils.files import whole_file
from mae.utils.runner_protocol import RunnerProtocol
from mae.utils.text import counted, printable

_FILE = 'bad_samples.jsonl'
_ONE_IN = 20  # `always_allowed` is for a few files of many, not for half of a small folder
BadSample = dict[str, Any]


@HOOKS.register_module()
class BadSamplesHook(Hook):
    """Lets a training dataset replace samples that it cannot read, and lists them.

    A dataset with `replaces_bad` lists replaced samples under `bad` in its batches. Each becomes a
    line of `bad_samples.jsonl` in the work dir: epoch and step from 1, id, path, reason, and the id
    of the replacement. Before a resumed run repeats steps, it removes their lines. Evaluation
    replaces nothing.

    Args:
        max_bad_fraction: share of an epoch's samples, over all processes, above which the run
            stops; 0 replaces none, and the first is an error.
        always_allowed: number of bad samples of an epoch that never stop the run, even if they
            exceed that share, up to one in twenty of its samples. With less than 10,000 samples a
            thousandth is less than 10, which is no sign of a damaged dataset.
        interval: steps between comparisons; there is one at the end of each epoch too.

    Raises:
        ConfigError: a number is out of range.
    """

    priority = 'ABOVE_NORMAL'

    def __init__(
        self,
        max_bad_fraction: float = 0.001,
        *,
        always_allowed: int = 10,
        interval: int = 100,
    ) -> None:
        if not 0 <= max_bad_fraction <= 1 or interval < 1 or always_allowed < 0:
            raise ConfigError(
                'default_hooks.bad_samples needs max_bad_fraction in 0..1 and interval >= 1, not '
                f'{max_bad_fraction} and {interval}, and always_allowed >= 0, not {always_allowed}'
            )
        self.max_bad_fraction = max_bad_fraction
        self.always_allowed = always_allowed
        self.interval = interval

    def before_train(self, runner: RunnerProtocol) -> None:
        """Switch on replacement in the dataset."""
        loader = runner.train_dataloader
        if self.max_bad_fraction and hasattr(loader.dataset, 'replaces_bad'):
            loader.dataset.replaces_bad = True
        self._path = Path(runner.work_dir) / _FILE
        self._found: list[BadSample] = []

    def before_train_epoch(self, runner: RunnerProtocol) -> None:
        """Set the count to that of the steps done in this epoch: after a resume or going back."""
        self._count = 0  # of this epoch and process; in the first process with those of the file
        if not is_main_process() or not self._path.is_file():
            return
        try:
            done = _keep(self._path, runner.iter)
        except OSError as error:
            runner.logger.warning(f'{self._path}: not brought up to date ({error.strerror})')
            return
        self._count = sum(line['epoch'] == runner.epoch + 1 for line in done)

    def before_train_iter(
        self, runner: RunnerProtocol, batch_idx: int, data_batch: Any = None
    ) -> None:
        """Remove the lists of replaced samples from the batches, which go to the model."""
        batches = [data_batch] if isinstance(data_batch, dict) else data_batch or []
        self._found = [record for batch in batches for record in batch.pop('bad', ())]

    def after_train_iter(
        self, runner: RunnerProtocol, batch_idx: int, *args: object, **kwargs: object
    ) -> None:
        """Append them to the file; every `interval` steps compare the count."""
        if self._found:
            self._count += len(self._found)
            place = {'epoch': runner.epoch + 1, 'step': runner.iter + 1}
            self._append(runner, [{**place, **record} for record in self._found])
        done, length = batch_idx + 1, len(runner.train_dataloader)
        if done % self.interval == 0 or done == length:
            self._compare(runner)

    def _append(self, runner: RunnerProtocol, records: list[BadSample]) -> None:
        """With a single write, so that no line of another process comes in between."""
        first = records[0]
        runner.logger.warning(
            f'{counted(len(records), "bad sample")} replaced at step {first["step"]}, see {_FILE}; '
            f'the first: {printable(first["path"])}: {first["reason"]}'
        )
        text = ''.join(json.dumps(record) + '\n' for record in records)
        try:
            file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(file, text.encode())
            finally:
                os.close(file)
        except OSError as error:
            runner.logger.warning(f'{self._path}: not written ({error.strerror}): {text.strip()}')

    def _compare(self, runner: RunnerProtocol) -> None:
        """Raise DataError in all processes at the same step if there are too many."""
        total = torch.tensor(self._count)
        all_reduce(total)
        samples = runner.train_dataloader.sampler.num_samples
        count, floor = int(total), min(self.always_allowed, max(1, samples // _ONE_IN))
        if count > max(self.max_bad_fraction * samples, floor):
            raise DataError(
                f'{count} bad samples in epoch {runner.epoch + 1} are more than max_bad_fraction='
                f'{self.max_bad_fraction:g} of its {samples}; they are {count / samples:.2%} '
                f'({floor} are always allowed): {self._examples(runner.epoch + 1)}{self._path} '
                'names them: mend them, leave them out with train_dataloader.dataset.quarantine, '
                'or raise default_hooks.bad_samples.max_bad_fraction'
            )

    def _examples(self, epoch: int) -> str:
        """The first files of the list; empty if it cannot be read."""
        try:
            lines = [json.loads(line) for line in self._path.read_text('utf-8').splitlines()]
            found = dict.fromkeys(line['path'] for line in lines if line['epoch'] == epoch)
        except (OSError, ValueError, KeyError, TypeError):
            return ''
        paths = [printable(path) for path in found]
        others = f' and {counted(len(paths) - 3, "more file")}' if len(paths) > 3 else ''
        return f'{", ".join(paths[:3])}{others}; ' if paths else ''


def _keep(path: Path, step: int) -> list[BadSample]:
    """Remove lines after `step`, and incomplete ones of a killed run, from the file.

    Returns:
        The records of the lines that stay.
    """
    lines, records = [], []
    text = path.read_text('utf-8', errors='replace')
    for line in text.splitlines():
        try:
            record = json.loads(line)
            is_done = record['step'] <= step and 'epoch' in record
        except (ValueError, KeyError, TypeError):
            continue
        if is_done:
            lines.append(f'{line}\n')
            records.append(record)
    if (kept := ''.join(lines)) != text:
        with whole_file(path) as file:
            file.write(kept.encode())
    return records
