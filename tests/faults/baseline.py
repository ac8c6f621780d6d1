"""The same faults for mmengine's own runner: the column beside ours."""

import shutil
import sys
import time
from pathlib import Path

from tests.faults.bench import PATIENCE, state_of, tail
from tests.faults.board import BASELINE
from tests.faults.calls import cut, flip_bit, size_in_bits
from tests.faults.scene import Scene

_SCRIPT = Path(__file__).with_name('plain_mmengine.py')
_SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, None)


def _line(work_dir, *arguments):
    return [sys.executable, str(_SCRIPT), str(work_dir), *arguments]


def _step(work_dir):
    try:
        return int((work_dir / 'step').read_text() or 0)
    except OSError:
        return 0


def _undisturbed(trial):
    """(hash, seconds that its steps take)."""

    def make(folder):
        process = trial.bench.start(_line(folder / 'run'), folder / 'log', quick=True)
        while process.is_alive() and not _step(folder / 'run'):
            time.sleep(0.005)
        start = time.monotonic()
        code = process.wait(PATIENCE)
        (folder / 'seconds').write_text(str(time.monotonic() - start))
        trial.check(code == 0, f'mmengine itself fails: {tail(folder / "log")}')
        trial.bench.run(_line(folder / 'again'), folder / 'log', quick=True)
        hashes = {state_of(folder / name)['weights_sha256'] for name in ('run', 'again')}
        trial.check(len(hashes) == 1, 'two undisturbed runs differ: nothing to compare with')

    folder = trial.bench.once('mmengine', make)
    return state_of(folder / 'run')['weights_sha256'], float((folder / 'seconds').read_text())


def _finish(trial):
    """With resume=True, to the end; whether that is the undisturbed one."""
    expected, _ = _undisturbed(trial)
    trial.run(_line(trial.work_dir, '--resume'), quick=True)
    found = state_of(trial.work_dir).get('weights_sha256')
    trial.check(found == expected, 'other weights than the undisturbed run')


def _half_done(trial):
    """A work dir of a run that was killed after a step in 200; its newest checkpoint."""

    def make(folder):
        process = trial.bench.start(_line(folder / 'run'), folder / 'log', quick=True)
        while process.is_alive() and _step(folder / 'run') < 200:
            time.sleep(0.002)
        process.kill()

    shutil.copytree(trial.bench.once('mmengine-half', make) / 'run', trial.work_dir)
    for name in ('last_checkpoint',):  # absolute, of the folder before
        path = trial.work_dir / name
        newest = trial.work_dir / Path(path.read_text()).name
        path.write_text(str(newest))
    return newest


def kill(trial):
    """At a random moment of its steps."""
    _, seconds = _undisturbed(trial)
    process = trial.bench.start(_line(trial.work_dir), trial.log, quick=True)
    while process.is_alive() and not _step(trial.work_dir):
        time.sleep(0.005)
    time.sleep(trial.rng.uniform(0, 0.9 * seconds))
    process.kill()
    trial.facts['step'] = _step(trial.work_dir)
    _finish(trial)


def cut_newest(trial):
    """It counts if the run goes on at all, from whatever is left."""
    newest = _half_done(trial)
    cut(newest, _SHARES[trial.number], less=1)
    trial.run(_line(trial.work_dir, '--resume'), quick=True)
    said = trial.log.read_text()
    trial.check('Load checkpoint from' in said, 'it began anew')


def flip(trial):
    """It counts if the change is noticed at all: an error, or another file taken."""
    newest = _half_done(trial)
    flip_bit(newest, trial.rng.randrange(size_in_bits(newest)))
    code = trial.bench.run(_line(trial.work_dir, '--resume'), trial.log, quick=True)
    trial.check(code != 0, 'it went on from the changed file, and said nothing')


SCENES = [
    Scene(f'{BASELINE}kill', 'mmengine: killed and resumed', kill, full=20, short=()),
    Scene(f'{BASELINE}cut', 'mmengine: newest checkpoint cut', cut_newest, full=7, short=()),
    Scene(f'{BASELINE}flips', 'mmengine: a bit changed', flip, full=20, short=()),
]
