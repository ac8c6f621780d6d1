"""Checkpoints that all processes write: killed in the midst of one, changed, in other hands.

The processes are forked, and find one another as those of torchrun do.
"""

import json
import shutil
import socket
import sys
import time
from pathlib import Path

from mae.fault_tolerance.checkpoint import choose_checkpoint, verified
from mae.fault_tolerance.checkpoint.manifest import manifest_path, read_manifest
from tests.faults.bench import PATIENCE, ROOT, state_of, tail
from tests.faults.calls import flip_bit, size_in_bits
from tests.faults.damage import says_the_same
from tests.faults.notes import notes
from tests.faults.process import Forked
from tests.faults.scene import Scene
from tests.faults.world import compare, record, seen_in, total

# The smallest run: 22 steps with a save after each, of which the fourth prunes.
OPTIONS = ('train_cfg.max_epochs=2', 'default_hooks.checkpoint.interval=1')
_SAVE = 4
_WAYS = ('parallel.type=fsdp', 'default_hooks.checkpoint.sharded=True')
_WORLDS = (2, 1, 3, 4)


class Crew:
    """The processes of one run.

    Args:
        words: of `tools/train.py`.
        faults: what shall happen, by rank.
        record: note the samples of each step.
    """

    def __init__(self, words, log, count, faults=(), *, record=False):
        with socket.socket() as place:
            place.bind(('127.0.0.1', 0))
            port = place.getsockname()[1]
        line = [sys.executable, str(ROOT / 'tools/train.py'), *map(str, words)]
        line[2:] = [line[2], '--launcher', 'pytorch', *line[3:]]
        self._processes = [
            Forked(
                line,
                log,
                {
                    'MAE_FAULT': json.dumps(dict(faults).get(rank, {})),
                    'MAE_FAULT_TRACE': f'{log}.trace',
                    'MAE_FAULT_RECORD': '1' if record else '',
                    **{'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': str(count)},
                    **{'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)},
                },
            )
            for rank in range(count)
        ]

    def wait(self, patience=PATIENCE):
        """Exit statuses; where one process is killed, the others are too."""
        end = time.monotonic() + patience
        while all(process.is_alive() for process in self._processes):
            if time.monotonic() > end:
                break
            time.sleep(0.01)
        codes = [None if p.is_alive() else p.wait(1) for p in self._processes]
        if any(code not in (None, 0, 143) for code in codes) or time.monotonic() > end:
            for process in self._processes:
                process.kill()
        return [process.wait(patience) for process in self._processes]


def _words(trial, work_dir, *arguments, options=()):
    return [
        *(trial.bench.configs['soak'], '--work-dir', work_dir, *arguments),
        *('--cfg-options', *OPTIONS, *options),
    ]


def _whole(trial, way):
    """(hash of the final weights, calls of the save by rank) of an undisturbed run."""

    def run(folder):
        fault = dict(do='DieAtCall', save=_SAVE, call=0)
        words = _words(trial, folder / 'run', options=[way])
        Crew(words, folder / 'log', 2, {0: fault, 1: fault}).wait()

    folder = trial.bench.once(f'shards-{way}', run)
    sha = state_of(folder / 'run').get('weights_sha256')
    trial.check(sha, f'the undisturbed run failed: {tail(folder / "log")}')
    return sha, [notes(folder / 'log', 'calls', rank)[-1] for rank in (0, 1)]


def _go_on(trial, way, expected):
    """With `--resume` by two processes, to the end of the undisturbed run."""
    codes = Crew(_words(trial, trial.work_dir, '--resume', options=[way]), trial.log, 2).wait()
    trial.check(codes == [0, 0], f'exit statuses {codes}: {tail(trial.log)}')
    state = state_of(trial.work_dir)
    trial.check(
        state['weights_sha256'] == expected,
        f'other weights than the undisturbed run, resumed from {state["resumed_from"]}',
    )
    left = [path.name for path in trial.work_dir.glob('.*.tmp')]
    trial.check(not left, f'left behind: {left}')
    return state['resumed_from']


def shard_kill(trial):
    """Eight lives in a row, each killed in a save that prunes, the other process with it."""
    way = _WAYS[trial.number % 2]
    expected, calls = _whole(trial, way)
    kills, good = [], []
    while len(kills) < 8:
        rank, before = trial.rng.randrange(2), good
        numbers = range(len(calls[rank]))
        if trial.rng.random() < 0.5:  # most are writes
            numbers = [number for number in numbers if calls[rank][number] != 'write']
        call = trial.rng.choice(numbers)
        fault = dict(do='DieAtCall', save=2 if kills else _SAVE, call=call + 1)
        words = _words(trial, trial.work_dir, *['--resume'] * bool(kills), options=[way])
        codes = Crew(words, trial.log, 2, {rank: fault}).wait()
        kills.append(f'{rank} {call} {calls[rank][call]}')
        trial.check(codes[rank] == -9, f'exit statuses {codes} at {kills}: {tail(trial.log)}')
        _check_resumed(trial, before)
        good = [found.step for found in verified(trial.work_dir)]
        trial.check(len(good) >= 2, f'after {kills} good ones are of {good}')
    trial.facts |= {'way': way, 'kills': kills}
    _go_on(trial, way, expected)
    _check_resumed(trial, good)
    return len(kills), len(kills)


def _check_resumed(trial, good):
    """From the newest of the good ones; and no part of one was taken for a checkpoint."""
    taken = state_of(trial.work_dir).get('resumed_from')
    newest = f'iter_{good[0]}.dcp' if good else None
    trial.check((taken and Path(taken).name) == newest, f'resumed from {taken}, not from {newest}')
    aside = [path.name for path in trial.work_dir.glob('*.corrupt')]
    trial.check(not aside, f'a part was taken for a checkpoint: {aside}')


def _stopped(trial, way):
    """The two checkpoints in a copy of the work dir of a run that was stopped."""

    def run(folder):
        fault = dict(do='Signal', at='end', step=7)
        words = _words(trial, folder / 'run', options=[way])
        codes = Crew(words, folder / 'log', 2, {0: fault}).wait()
        trial.check(codes == [143, 143], f'exit statuses {codes}: {tail(folder / "log")}')

    made = trial.bench.once(f'shards-stopped-{way}', run) / 'run'
    shutil.copytree(made, trial.work_dir)
    return sorted(trial.work_dir.glob('iter_*.dcp'), key=lambda path: int(path.stem[5:]))


def shard_flip(trial):
    """50 bits of folder and manifest, one at a time; the last is met by two processes."""
    way = _WAYS[trial.number % 2]
    expected, _ = _whole(trial, way)
    before, newest = _stopped(trial, way)
    found, missed = 0, []
    while found + len(missed) < 50:
        folder = shutil.copytree(trial.work_dir, trial.folder / 'flipped')
        file, bit = _random_bit(trial.rng, folder / newest.name)
        manifest = read_manifest(folder / newest.name)
        flip_bit(file, bit)
        if file.suffix == '.json' and says_the_same(folder / newest.name, manifest):
            shutil.rmtree(folder)  # a tab in place of a blank: nothing has changed
            continue
        lines = []
        choice = choose_checkpoint(folder, 11, lines.append)
        if choice.path.name == before.name and choice.verified and len(lines) == 1:
            found += 1
        else:
            missed.append(f'{file.name} bit {bit}')
        shutil.rmtree(folder)
    flip_bit(newest / '__1_0.distcp', trial.rng.randrange(size_in_bits(newest / '__1_0.distcp')))
    taken = _go_on(trial, way, expected)
    trial.check(taken == str(before), f'resumed from {taken} instead of {before}')
    trial.check(newest.with_name(f'{newest.name}.corrupt').is_dir(), 'not set aside')
    trial.check('the SHA-256 of __1_0.distcp' in trial.log.read_text(), 'not told')
    trial.facts['why'] = f'not detected: {missed}' if missed else ''
    return found, found + len(missed)


def _random_bit(rng, path):
    """A file of the checkpoint and a bit of it, every bit alike."""
    files = [*sorted(path.iterdir()), manifest_path(path)]
    number = rng.randrange(sum(map(size_in_bits, files)))
    file = next(f for f in files if (number := number - size_in_bits(f)) < 0)
    return file, number + size_in_bits(file)


def shard_world(trial):
    """Stopped and resumed by 2, 1, 3 and 4 processes: the weights saved, and the same samples."""
    options = [_WAYS[trial.number % 2]]
    expected = seen_in(
        trial.bench.once('record-shards', lambda folder: record(trial, 'soak', OPTIONS, folder)), 1
    )
    found, saved = {}, None
    for count, step in zip(_WORLDS, (3, 5, 8, 0), strict=True):
        log = trial.folder / f'log{count}'
        turn = dict(do='Turn', at='end', step=step)
        faults = {rank: dict(turn, rank=-(rank > 0)) for rank in range(count)}
        words = _words(trial, trial.work_dir, *['--resume'] * (saved is not None), options=options)
        codes = Crew(words, log, count, faults, record=True).wait()
        trial.check(set(codes) == {143 if step else 0}, f'exit statuses {codes}: {tail(log)}')
        starts = {digest for rank in range(count) for digest in notes(log, 'start', rank)}
        trial.check(saved in (None, *starts) and len(starts) == 1, f'{count} began with others')
        seen = seen_in(trial.folder, count, log.name)
        trial.check(not set(seen) & set(found), f'steps were done twice by {count} processes')
        found |= seen
        if step:  # it takes a step more until all know of the signal
            step = state_of(trial.work_dir)['step']
            saved = read_manifest(trial.work_dir / f'iter_{step}.dcp').weights_sha256
    trial.facts |= compare(expected, found)
    trial.check(found == expected, f'other samples: {trial.facts}')


SCENES = [
    Scene(
        'shard-kill',
        'SIGKILL at a random call of a save by two processes (FSDP, DDP), then --resume',
        shard_kill,
        full=5,
        short=(),
        cores=2,
    ),
    Scene(
        'shard-flip',
        'single bits of a folder and its manifest changed: each is noticed',
        shard_flip,
        full=2,
        short=(),
        cores=2,
    ),
    Scene(
        'shard-world',
        'a sharded checkpoint goes from 2 processes to 1, 3 and 4: its hash, and the samples',
        shard_world,
        full=2,
        short=(),
        cores=2,
        sum_up=total,
    ),
]
