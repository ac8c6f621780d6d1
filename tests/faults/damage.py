"""Checkpoints that were cut or changed, and all that may lie around in a work dir."""

import os
import shutil
import socket
from pathlib import Path

from mae.fault_tolerance.checkpoint import choose_checkpoint
from mae.fault_tolerance.checkpoint.manifest import Unverifiable, manifest_path, read_manifest
from tests.faults.bench import state_of
from tests.faults.calls import cut, flip_bit, size_in_bits
from tests.faults.notes import notes
from tests.faults.scene import Scene

_STOP = dict(do='Signal', at='end', step=20)
_SHARES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, None)
_STEPS_AN_EPOCH = 11


def _half_done(trial, processes=1):
    """A copy of a work dir with a run that was stopped after step 20, with two checkpoints."""

    def make(folder):
        line = trial.bench.line('mae', folder / 'run', processes=processes)
        code = trial.bench.run(line, folder / 'log', fault=_STOP, quick=processes == 1)
        trial.check(code == 143, f'exit status {code} of the run to be damaged')

    made = trial.bench.once(f'half-done-{processes}', make) / 'run'
    shutil.copytree(made, trial.work_dir)
    found = sorted(trial.work_dir.glob('iter_*.pth'), key=lambda path: int(path.stem[5:]))
    trial.check(len(found) == 2, f'{len(found)} checkpoints instead of 2')
    return found


def _resume(trial, processes=1, fault=None):
    reference = trial.bench.reference('mae', processes=processes, quick=processes == 1)
    line = trial.bench.line('mae', trial.work_dir, '--resume', processes=processes)
    trial.finish(line, reference, quick=processes == 1, fault=fault)
    found = state_of(trial.work_dir)['resumed_from']
    return found and Path(found).name


def cut_newest(trial):
    """The one before is taken, and at once."""
    before, newest = _half_done(trial)
    share = _SHARES[trial.number]
    cut(newest, share, less=1)
    taken = _resume(trial, fault=dict(do='TimeChoice'))
    trial.check(taken == before.name, f'resumed from {taken} instead of {before.name}')
    aside = newest.with_name(f'{newest.name}.corrupt')
    trial.check(aside.exists(), f'{newest.name} was not set aside')
    (seconds,) = notes(trial.log, 'choice')
    trial.facts |= {'share': share, 'choice_seconds': seconds}
    trial.check(seconds < 2, f'falling back took {seconds:.1f} s')


def flip_bits(trial):
    """100 bits of checkpoint and manifest, one at a time; the last is resumed for real."""
    before, newest = _half_done(trial)
    found, without_effect = 0, 0
    while found + len(trial.facts.get('missed', [])) < 100:
        folder = shutil.copytree(trial.work_dir, trial.folder / 'flipped')
        path = folder / newest.name
        file, bit = _random_bit(trial.rng, path)
        manifest = read_manifest(path)
        flip_bit(file, bit)
        if file != path and says_the_same(path, manifest):
            without_effect += 1  # the case of an exponent, say: nothing has changed
        else:
            warnings = []
            choice = choose_checkpoint(folder, _STEPS_AN_EPOCH, warnings.append)
            if file == path:  # it must not be taken at all
                good = choice.path.name == before.name and choice.verified
            else:  # without a manifest to trust, its own checksums decide
                good = not (choice.path.name == newest.name and choice.verified)
            if good and warnings:
                found += 1
            else:
                trial.facts.setdefault('missed', []).append(f'{file.name} bit {bit}')
        shutil.rmtree(folder)
    trial.facts['without_effect'] = without_effect
    file, bit = _random_bit(trial.rng, newest)
    flip_bit(file, bit)
    _resume(trial)
    missed = trial.facts.get('missed', [])
    trial.facts['why'] = f'not detected: {missed}' if missed else ''
    return found, found + len(missed)


def _random_bit(rng, path):
    """A file of the checkpoint and a bit of it, every bit alike."""
    files = [path, manifest_path(path)]
    number = rng.randrange(sum(map(size_in_bits, files)))
    first = size_in_bits(path)
    return (path, number) if number < first else (files[1], number - first)


def says_the_same(path, manifest):
    try:
        return read_manifest(path) == manifest
    except Unverifiable:
        return False


# --- what lies around -------------------------------------------------------------------------


def _missing_pointer(folder, newest):
    (folder / 'last_checkpoint').unlink()


def _dangling_pointer(folder, newest):
    (folder / 'last_checkpoint').write_text(str(folder / 'iter_99.pth'))


def _garbage_pointer(folder, newest):
    (folder / 'last_checkpoint').write_bytes(os.urandom(4096))


def _pointer_that_is_a_folder(folder, newest):
    (folder / 'last_checkpoint').unlink()
    (folder / 'last_checkpoint').mkdir()


def _stale_temporaries(folder, newest):
    host = socket.gethostname().replace('-', '_')
    for name in (f'.iter_30.pth.{host}-4194303.tmp', '.last_checkpoint', '.run.json'):
        (folder / name).write_bytes(b'half')


def _half_saved_folder(folder, newest):
    (folder / 'iter_30.pth').mkdir()
    (folder / 'iter_30.pth' / 'shard_0.distcp').write_bytes(b'half')


def _lone_manifest(folder, newest):
    shutil.copy(manifest_path(newest), folder / 'iter_30.pth.json')


def _empty_checkpoint(folder, newest):
    (folder / 'iter_30.pth').touch()


def _garbage_state(folder, newest):
    (folder / 'run.json').write_text('{')
    (folder / '.lock').write_bytes(b'\0' * 10)


LITTER = (
    *(_missing_pointer, _dangling_pointer, _garbage_pointer, _pointer_that_is_a_folder),
    *(_stale_temporaries, _half_saved_folder, _lone_manifest, _empty_checkpoint, _garbage_state),
)


def litter(trial):
    """In one process."""
    _litter(trial, 1)


def litter_two(trial):
    """In two: none may wait for the other."""
    _litter(trial, 2)


def _litter(trial, processes):
    _, newest = _half_done(trial, processes)
    spread = LITTER[trial.number]
    trial.facts['litter'] = spread.__name__.strip('_').replace('_', ' ')
    spread(trial.work_dir, newest)
    taken = _resume(trial, processes)
    trial.check(taken == newest.name, f'resumed from {taken} instead of {newest.name}')


SCENES = [
    Scene(
        'cut',
        'newest checkpoint cut at 0, 1, 25, 50, 75, 99 %, less one byte: the one before is taken',
        cut_newest,
        full=len(_SHARES),
        short=(3,),
        sum_up=lambda facts: {
            'slowest_seconds': max(
                (f['choice_seconds'] for f in facts if 'choice_seconds' in f), default=None
            )
        },
    ),
    Scene(
        'flips',
        'single bits of a checkpoint and its manifest changed: each is noticed',
        flip_bits,
        full=10,
        short=(0,),
        sum_up=lambda facts: {'without_effect': sum(f.get('without_effect', 0) for f in facts)},
    ),
    Scene(
        'litter',
        'pointer missing, dangling, garbage; temporary files; half-saved folders: --resume',
        litter,
        full=len(LITTER),
        short=(5,),
    ),
    Scene(
        'litter2',
        'the same with two processes',
        litter_two,
        full=len(LITTER),
        short=(),
        cores=2,
    ),
]
