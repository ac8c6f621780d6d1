"""Act: what the hooks of the engine cost a step."""

import time

from mmengine.hooks import Hook

from tests.faults.notes import note


class Cost(Hook):
    """Times what the hooks of the engine that watch over a run do in each step.

    Besides: the check of the gradients in the optimizer wrapper. The copies of the state for
    checkpoints count as well; none is due but at the end of every tenth epoch.
    """

    WATCHERS = (
        *('GuardHook', 'StopHook', 'WatchdogHook', 'RunStateHook'),
        *('BadSamplesHook', 'CheckpointHook'),
    )
    POINTS = ('before_train_iter', 'after_train_iter', 'after_report', 'after_step')

    def before_train(self, runner):
        self._spent = {}
        for hook in runner.hooks:
            if type(hook).__name__ in self.WATCHERS:
                for point in self.POINTS:
                    if hasattr(hook, point):
                        self._time(hook, point, type(hook).__name__)
        self._time(runner.optim_wrapper, '_check_gradients', 'gradients')
        self._time(runner.train_loop, '_run_step', 'step')
        self._time(runner.train_loop, '_call_after_report', 'tell')
        self._steps = -runner.iter

    def after_train(self, runner):
        spent = dict(self._spent)
        step = spent.pop('step')
        tell = spent.pop('tell', 0.0)  # holds the time of `after_report`
        whole = step + tell
        each = {name: round(100 * seconds / whole, 4) for name, seconds in spent.items()}
        steps = runner.iter + self._steps
        note(
            'cost',
            {
                'percent': round(sum(each.values()), 4),
                'each_percent': each,
                'step_milliseconds': round(1000 * whole / steps, 3),
                'steps': steps,
            },
        )

    def _time(self, owner, name, title):
        real = getattr(owner, name)

        def timed(*args, **kwargs):
            start = time.perf_counter()
            try:
                return real(*args, **kwargs)
            finally:
                self._spent[title] = self._spent.get(title, 0.0) + time.perf_counter() - start

        setattr(owner, name, timed)
