"""The fault harness: disturbs real runs on the digits and keeps score."""

import argparse
import os
import shutil
import signal
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tests.faults import scenes
from tests.faults.bench import Bench
from tests.faults.board import BASELINE, Scoreboard
from tests.faults.process import Hung, kill_what_is_left
from tests.faults.scene import Failed, Outcome, Trial

console = Console(soft_wrap=True)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(prog='python -m tests.faults', description=__doc__)
    parser.add_argument('--scenes', nargs='+', choices=[s.name for s in scenes.ALL])
    parser.add_argument('--trials', nargs='+', type=int, metavar='N', help='only these numbers')
    parser.add_argument('--short', action='store_true', help='a few trials of each')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--jobs', type=int, default=2, help='trials at a time')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/faults'))
    parser.add_argument('--resume', action='store_true', help='leave out what has passed already')
    parser.add_argument('--keep', action='store_true', help='keep the folders of good trials too')
    return parser.parse_args(argv)


def main(argv=None):
    """Run the scenes asked for; returns the exit status."""
    args = parse_args(argv)
    os.environ['OMP_NUM_THREADS'] = '1'
    root = str(Path(__file__).parents[2])
    os.environ['PYTHONPATH'] = os.pathsep.join([root, os.environ.get('PYTHONPATH', '')])
    bench = Bench(args.out / 'bench', resume=args.resume)
    keep = args.resume or args.scenes is not None
    order = [scene.name for scene in scenes.ALL]
    board = Scoreboard(args.out / 'scoreboard.json', args.seed, order, keep=keep)
    chosen = [s for s in scenes.ALL if not args.scenes or s.name in args.scenes]
    jobs: dict[int, list] = {}  # by the cores that they keep busy
    for scene in chosen:
        if obstacle := scene.obstacle():
            console.print(f'{scene.name} skipped: {obstacle}', markup=False)
            continue
        numbers = args.trials or scene.numbers(bench, short=args.short)
        left = board.left(scene, numbers) if args.resume else list(numbers)
        if not args.resume and not args.trials:
            board.clear(scene)
        jobs.setdefault(scene.cores, []).extend((scene, number) for number in left)
    columns = ['{task.description:<10}', BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        for cores, trials in sorted(jobs.items()):
            _play(trials, max(1, args.jobs // cores), args, bench, board, progress)
    _show(board, [scene.name for scene in chosen])
    missed = board.missed([scene.name for scene in chosen])
    return 1 if any(not name.startswith(BASELINE) for name in missed) else 0


def _play(trials, at_a_time, args, bench, board, progress):
    tasks = {
        scene.name: progress.add_task(scene.name, total=total)
        for scene, total in Counter(scene for scene, _ in trials).items()
    }
    start, done, every = time.monotonic(), 0, max(1, len(trials) // 20)
    with ThreadPoolExecutor(at_a_time) as pool:
        futures = {pool.submit(_try, *trial, args, bench): trial for trial in trials}
        try:
            for future in as_completed(futures):
                outcome, seconds = future.result()
                scene, number = futures[future]
                done += 1
                board.add(scene, number, outcome, seconds)
                progress.advance(tasks[scene.name])
                if outcome.passed < scene.share * outcome.tried or not outcome.tried:
                    again = scene.repeat(number, args.seed, args.out)
                    console.print(
                        f'{scene.name} {number} failed: {outcome.why}\n  again: {again}',
                        markup=False,
                    )
                if not console.is_terminal and done % every == 0:
                    left = (time.monotonic() - start) / done * (len(trials) - done)
                    print(f'{scene.name}: {done}/{len(trials)}, {left:.0f} s left', flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            kill_what_is_left()
            raise


def _try(scene, number, args, bench):
    folder = bench.folder / scene.name / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trial = Trial(scene.name, number, args.seed, folder, bench)
    start = time.monotonic()
    try:
        passed, tried = scene.run(trial) or (1, 1)
        outcome = Outcome(passed, tried, trial.facts.pop('why', ''), trial.facts)
    except (Failed, Hung) as error:
        outcome = Outcome(0, 1, str(error), trial.facts)
    except Exception as error:  # of the harness or of what it imports: no reason to stop
        outcome = Outcome(0, 1, f'{type(error).__name__}: {error}', trial.facts)
    if outcome.passed == outcome.tried and not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome, time.monotonic() - start


def _show(board, names):
    table = Table('fault', 'passed', 'of', 'mmengine', 'seconds', 'what', box=None)
    for name in names:
        row = board.content['rows'].get(name)
        if row:
            style = None if row['reached'] else 'red'
            peer = row.get('mmengine') or ''
            cells = (name, row['passed'], row['tried'], peer, row['seconds'], row['what'])
            table.add_row(*map(str, cells), style=style)
    console.print(table)
    console.print(board.line(), markup=False)


if __name__ == '__main__':
    # A shell that starts us in the background ignores Ctrl-C, which our children would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
