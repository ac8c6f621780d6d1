"""What the bench's configs name: hooks that note how far a run is, and do to it what is asked.

`MAE_FAULT` says what (JSON; {}: nothing), `MAE_FAULT_TRACE` where to note how far the run is.
"""

import json
import os
from pathlib import Path

from mmengine.hooks import Hook

from mae.registry import HOOKS
from tests.faults.acts import ACTS, Record
from tests.faults.notes import RANK


@HOOKS.register_module()
class FaultHook(Hook):
    """The act that `MAE_FAULT` names under `do`, with the rest as its arguments."""

    def __new__(cls):
        fault = json.loads(os.environ.get('MAE_FAULT') or '{}')
        return ACTS[fault.pop('do')](**fault) if fault else Hook()


@HOOKS.register_module()
class RecordHook(Hook):
    """`Record`, where `MAE_FAULT_RECORD` asks for it."""

    def __new__(cls):
        return Record() if os.environ.get('MAE_FAULT_RECORD') else Hook()


@HOOKS.register_module()
class PhaseHook(Hook):
    """Notes phase and step, where the harness reads them once the run is dead."""

    priority = 'LOWEST'

    def __init__(self):
        trace = os.environ.get('MAE_FAULT_TRACE')
        flags = os.O_WRONLY | os.O_CREAT
        self._trace = os.open(f'{trace}{RANK}', flags, 0o666) if trace else None
        self._note('building', 0)

    def _note(self, phase, step):
        if self._trace is not None:
            os.pwrite(self._trace, f'{phase:<10}{step:>8}'.encode(), 0)

    def before_train(self, runner):
        self._note('loading', runner.iter)

    def before_train_iter(self, runner, **others):
        self._note('training', runner.iter)

    def after_step(self, runner):
        self._note('loading', runner.iter)

    def before_val(self, runner):
        self._note('validating', runner.iter)

    def after_val(self, runner):
        self._note('loading', runner.iter)

    def after_train(self, runner):
        self._note('ending', runner.iter)


def phase_of(trace, work_dir):
    """(phase, step) of a run that has just been killed, or is under way."""
    try:
        text = Path(f'{trace}0').read_text()
    except OSError:
        text = ''
    if any(work_dir.glob('.*.tmp')):
        return 'saving', int(text[10:] or 0)
    return (text[:10].strip() or 'importing'), int(text[10:] or 0)
