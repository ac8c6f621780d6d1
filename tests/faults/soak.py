"""20,000 steps with 20 random kills: what memory and descriptors do meanwhile."""

import os
import time
from pathlib import Path
from statistics import median

from tests.faults.bench import state_of
from tests.faults.scene import Scene

_PAGE = os.sysconf('SC_PAGE_SIZE')
_WARM = 300  # steps
_SIZES = ((20_000, 20), (440, 1))  # steps and kills; the second for the short selection


def soak(trial):
    """One run is killed again and again; another, beside it, is left alone."""
    steps, kills = _SIZES[trial.number]
    options = [
        f'train_cfg.max_epochs={steps // 11}',
        'default_hooks.checkpoint.interval=100',
        'default_hooks.logger.interval=11',
    ]
    steps = steps // 11 * 11
    alone = trial.bench.start(
        trial.bench.line('soak', trial.folder / 'alone', options=options),
        trial.folder / 'alone.log',
        quick=True,
    )
    at = sorted(trial.rng.sample(range(1, steps), kills))
    lives, single = [], []
    line = trial.bench.line('soak', trial.work_dir, '--resume', options=options)
    for target in (*at, None):
        process = trial.bench.start(line, trial.log, quick=True)
        life = []
        while process.is_alive():
            step = trial.phase()[1]
            _sample(process.pid, step, life)
            _sample(alone.pid, _step(trial.folder / 'alone.log'), single)
            if target is not None and step >= target:
                process.kill()
                break
            time.sleep(0.05)
        lives.append(life)
    code = process.wait(1)
    trial.check(code == 0, f'exit status {code} of the last life')
    while alone.is_alive():
        _sample(alone.pid, _step(trial.folder / 'alone.log'), single)
        time.sleep(0.05)
    hashes = [state_of(x).get('weights_sha256') for x in (trial.work_dir, trial.folder / 'alone')]
    trial.check(hashes[0] and hashes[0] == hashes[1], f'different weights: {hashes}')
    trial.facts |= _growth(single, lives)
    if trial.number == 0:
        growth = trial.facts['growth_within_percent'], trial.facts['growth_between_percent']
        trial.check(max(growth) < 1, f'memory grows by {growth} %')
        trial.check(trial.facts['descriptors_growth'] <= 0, 'more and more files are open')


def _step(log):
    try:
        return int(Path(f'{log}.trace0').read_text()[10:] or 0)
    except OSError:
        return 0


def _sample(pid, step, into):
    """(step, resident bytes, open files), once a few steps."""
    if into and step < into[-1][0] + 5:
        return
    try:
        resident = int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * _PAGE
        into.append((step, resident, len(os.listdir(f'/proc/{pid}/fd'))))
    except (OSError, IndexError):
        return


def _growth(single, lives):
    """In %: of the run left alone, its last fifth to its second; of later lives to earlier ones."""
    warm = [entry for entry in single if entry[0] >= _WARM] or single
    fifth = max(1, len(warm) // 5)
    early, late = warm[fifth : 2 * fifth] or warm[:1], warm[-fifth:]
    middles = [[m for s, m, _ in life if s >= life[0][0] + 100] for life in lives if life]
    middles = [median(m) for m in middles if m]
    half = len(middles) // 2
    between = _percent(middles[:half], middles[half:]) if half else 0.0
    return {
        'growth_within_percent': _percent([m for _, m, _ in early], [m for _, m, _ in late]),
        'growth_between_percent': between,
        'megabytes': round(median(m for _, m, _ in late) / 1e6, 1),
        'descriptors_growth': int(median(f for *_, f in late) - median(f for *_, f in early)),
        'samples': len(single),
        'lives': len(lives),
    }


def _percent(before, after):
    return round(100 * (median(after) / median(before) - 1), 3)


def _last(facts):
    return facts[-1] if facts else {}


SCENES = [
    Scene(
        'soak',
        '20,000 steps with 20 random kills: the same weights as alone, memory, open files',
        soak,
        full=1,
        short=(),
        cores=2,
        sum_up=_last,
    )
]
