"""Hooks of a run: mmengine's, ours of every `TrainLoop`, and those of its config."""

from collections.abc import Callable, Mapping
from typing import Any

from mae.registry import HOOKS, find

# Hooks of every run of a `TrainLoop`, unless the config has None or others in their places.
_OURS = {
    'dense_report': {'type': 'mae.DenseReportHook'},
    'guard': {'type': 'mae.GuardHook'},
    'run_state': {'type': 'mae.RunStateHook'},
    'stop': {'type': 'mae.StopHook'},
    'watchdog': {'type': 'mae.WatchdogHook'},
}
# mmengine's, of which alone it takes None.
_THEIRS = ('runtime_info', 'timer', 'sampler_seed', 'logger', 'param_scheduler', 'checkpoint')


def default_hooks(
    hooks: Mapping[str, Any] | None, *, is_exact: bool, trains: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """The argument for mmengine's `register_default_hooks`.

    Args:
        hooks: `default_hooks` of the config.
        is_exact: whether a `TrainLoop` trains; it sets the epoch of samplers itself.
        trains: whether any loop trains.
        warn: called with a line about hooks that have no effect.
    """
    chosen = dict(hooks or {})
    if is_exact:
        chosen = {'sampler_seed': None, **_OURS, **chosen}
    elif trains:
        idle = [name for name, hook in chosen.items() if _needs_train_loop(hook)]
        if idle:
            names = ', '.join(idle)
            warn(f"default_hooks.{names}: no effect without train_cfg.type='TrainLoop'")
        chosen = {name: hook for name, hook in chosen.items() if name not in idle}
    return {name: hook for name, hook in chosen.items() if hook or name in _THEIRS}


def _needs_train_loop(hook: object) -> bool:
    kind = find(HOOKS, hook.get('type')) if isinstance(hook, Mapping) else hook
    return getattr(kind, 'needs_train_loop', False)
