"""What happens inside a disturbed run: a hook that the bench's configs name.

`MAE_FAULT` says what (JSON; {}: nothing), `MAE_FAULT_TRACE` where to note how far the run is.
"""

import json
import os

from mmengine.hooks import Hook

from mae.registry import HOOKS


@HOOKS.register_module()
class FaultHook(Hook):
    """Notes the phase of the run, and does what `MAE_FAULT` asks for."""

    priority = 'LOWEST'

    def __init__(self):
        self.fault = json.loads(os.environ.get('MAE_FAULT') or '{}')
        trace = os.environ.get('MAE_FAULT_TRACE')
        rank = os.environ.get('RANK', '0')
        self._trace = trace and os.open(f'{trace}{rank}', os.O_WRONLY | os.O_CREAT, 0o666)
        self._note('building', 0)

    def _note(self, phase, step):
        if self._trace:
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
        text = open(f'{trace}0').read()
    except OSError:
        text = ''
    if any(work_dir.glob('.*.tmp')):
        return 'saving', int(text[10:] or 0)
    return (text[:10].strip() or 'importing'), int(text[10:] or 0)
