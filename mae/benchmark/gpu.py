"""All that a device is to be asked, as one command: rows, whose parts are processes with a limit.

A part that fails, hangs or is not reached ends no other. What is known is written after each row.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from mae.benchmark import GPU_ROWS, OURS
from mae.benchmark.measure import machine_facts
from mae.benchmark.report import Figures, Report, write_report
from mae.utils.hardware import cores_at_hand, software

_ROOT = Path(__file__).parents[2]
_STEP = 'step --batch 256 --rounds 5 --steps 5'
_FINETUNE = 'finetune --batch 128 --rounds 5 --steps 4'
_TESTS = 'models engine/test_device_prefetcher.py engine/optim evaluation/test_on_device.py'
# The parts of each row: 'check' and a file of `mae.benchmark.on_device`, 'tests' and files of our
# tests, or a task of `tools/benchmark.py`.
_PARTS: dict[int, tuple[str, ...]] = {
    0: ('check machine',),
    1: ('check ceilings',),
    2: ('attention --batch 256 --rounds 5 --steps 3', 'check kernels'),
    3: (f'tests {_TESTS}',),
    4: ('check parity',),
    5: ('check restart',),
    6: ('check waits',),
    7: (f'{_STEP} --peers transformers lightly stable_pretraining',),
    8: (f'{_STEP} --compile --no-memory --peers transformers lightly',),
    9: ('check profile', 'count --batch 256'),
    10: (_FINETUNE, f'{_FINETUNE} --compile --no-memory'),
    11: ('check variants',),
    12: ('loader --batch 256 --workers {workers} --rounds 3',),
}
_MINI = '--config mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
_TUNED = '--config vit-mini-p4_ft-1xb128-coslr-40e_digits-16'
_BRIEF = '--batch 4 --rounds 1 --steps 1 --peers'
_QUICK = {
    **_PARTS,
    2: (f'attention {_MINI} {_BRIEF} math', 'check kernels'),
    3: ('tests engine/test_device_prefetcher.py',),
    7: (f'step {_MINI} {_BRIEF}',),
    8: (),  # compiling takes minutes, however small the model
    9: ('check profile', f'count {_MINI} --batch 4'),
    10: (f'finetune {_TUNED} {_BRIEF}',),
    12: ('loader --workers 0 --batch 8 --rounds 1 --steps 1 --storage files --peers',),
}
# Seconds that a row should take, of which it gets half as much again; in the order in which they
# are run, so that what decides most is known if time runs out.
_SECONDS = {0: 10, 1: 15, 4: 35, 6: 25, 7: 80, 8: 120, 10: 65, 9: 50, 2: 40, 5: 45, 11: 50, 12: 35}
_SECONDS[3] = 40
_OFFLINE = {'HF_HUB_OFFLINE': '1', 'TRANSFORMERS_OFFLINE': '1', 'WANDB_MODE': 'offline'}
_PATIENCE = 1.5
_BAD = ('failed', 'timeout')
_STYLES = {'ok': 'green', 'failed': 'red', 'timeout': 'red', 'skipped': 'yellow'}


@dataclass(frozen=True)
class Command:
    """A command of a row.

    Attributes:
        name: of its log and its JSON file.
        text: as in the report.
        words: the command.
        result: its JSON file, if it writes one.
        why_not: why it cannot run here, or ''.
    """

    name: str
    text: str
    words: tuple[str, ...]
    result: Path
    why_not: str = ''


def run(
    device: torch.device,
    out: Path,
    *,
    rows: Sequence[int] = (),
    quick: bool = False,
    minutes: float = 10.0,
    command: str = '',
) -> Report:
    """Run rows, and write `gpu.json`, `gpu.txt` and a log of each part.

    Args:
        device: a GPU, or a CPU to try the logic.
        out: folder, which exists.
        rows: numbers of `GPU_ROWS`; by default all.
        quick: the smallest models and few numbers, without peers.
        minutes: for all rows; those that it does not reach are skipped.
        command: the command line, for the report.

    Returns:
        The content of `gpu.json`.
    """
    machine = machine_facts(device)
    report: Report = {
        'task': 'gpu',
        'device': machine['name'],
        'command': command,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'quick': quick,
        'minutes': minutes,
        'rows': {},
        'machine': machine,
        'versions': software('transformers', 'lightly', 'pillow'),
    }
    start = time.monotonic()
    with _ended_by_sigterm():
        for number, expected in _SECONDS.items():
            if rows and number not in rows:
                continue
            print(f'row {number}: {GPU_ROWS[number]}', flush=True)
            parts = parts_of(number, device, out, quick=quick)
            left = 60 * minutes - (time.monotonic() - start)
            limit = left if quick else min(left, expected * _PATIENCE)
            row = run_row(parts, limit, device)
            report['rows'][str(number)] = {'name': GPU_ROWS[number], **row}
            report['seconds'] = time.monotonic() - start
            write_report(report, out / 'gpu.json')
            print(f'row {number}: {row["status"]}, {row["seconds"]:.0f} s', flush=True)
    with (out / 'gpu.txt').open('w', encoding='utf-8') as file:
        show_rows(report, Console(file=file, width=160))
    return report


def failures(report: Report) -> list[str]:
    """The numbers of rows that failed or took too long."""
    bad = [number for number, row in report['rows'].items() if row['status'] in _BAD]
    return sorted(bad, key=int)


def parts_of(number: int, device: torch.device, out: Path, *, quick: bool) -> list[Command]:
    """The commands of a row.

    Args:
        number: a key of `GPU_ROWS`.
        device: where they run.
        out: folder of their JSON files.
        quick: see `run`.
    """
    workers = min(15, max(1, cores_at_hand() - 1))
    parts = []
    for text in (_QUICK if quick else _PARTS)[number]:
        task, *options = shlex.split(text.format(workers=workers))
        name = f'{number:02d}_{options[0] if task == "check" else task}'
        name += '_compiled' if '--compile' in options else ''
        result, where = out / f'{name}.json', ['--device', device.type]
        why_not = ''
        if task == 'check':
            words = ['-m', 'mae.benchmark.on_device', *options, *where]
            words += ['--quick'] if quick else []
            words += ['--json', str(result)]
        elif task == 'tests':
            files = [str(_ROOT / 'tests' / file) for file in options]
            words = ['-m', 'pytest', '-q', '-p', 'no:cacheprovider', *files]
            words += ['-n', '8'] if find_spec('xdist') and not quick else []
            if find_spec('pytest') is None or not (_ROOT / 'tests').is_dir():
                why_not = 'pytest or the tests are not here'
        else:
            words = [str(_ROOT / 'tools' / 'benchmark.py'), task, *options]
            words += where if task not in ('loader', 'count') else []
            words += ['--json', str(result)]
        parts.append(Command(name, text, (sys.executable, *words), result, why_not))
    return parts


def run_row(parts: Sequence[Command], limit: float, device: torch.device) -> Figures:
    """Run the parts of a row one after the other, which share its time.

    Args:
        parts: commands.
        limit: seconds for all of them.
        device: a CPU hides the GPUs from them.
    """
    if not parts:
        return {'status': 'skipped', 'seconds': 0.0, 'parts': [], 'reason': 'not in --quick'}
    start = time.monotonic()
    done = [_run_part(part, limit - (time.monotonic() - start), device) for part in parts]
    states = [part['status'] for part in done]
    status = next((s for s in ('failed', 'timeout', 'skipped') if s in states), 'ok')
    seconds = time.monotonic() - start
    return {'status': status, 'seconds': seconds, 'limit_seconds': limit, 'parts': done}


def _run_part(part: Command, limit: float, device: torch.device) -> Figures:
    facts: Figures = {'name': part.name, 'command': part.text}
    if part.why_not or limit <= 0:
        return {**facts, 'status': 'skipped', 'reason': part.why_not or 'no time left'}
    log = part.result.with_suffix('.log')
    part.result.unlink(missing_ok=True)
    start = time.monotonic()
    try:
        code = _call(part.words, log, limit, device)
        status = 'failed' if code else 'ok'
    except subprocess.TimeoutExpired:
        status = 'timeout'
    facts |= {'status': status, 'seconds': time.monotonic() - start, 'log': log.name}
    if status == 'failed':
        facts['reason'] = _last_line(log)
    elif status == 'timeout':
        facts['reason'] = f'ended after {limit:.0f} s'
    with suppress(OSError, ValueError):  # none, or half of one
        facts['result'] = json.loads(part.result.read_text(encoding='utf-8'))
    return facts


def _call(words: Sequence[str], log: Path, limit: float, device: torch.device) -> int:
    """The exit status of a command, whose processes are all ended at the limit.

    Raises:
        subprocess.TimeoutExpired: it was not done.
    """
    paths = [str(_ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]
    env = {**os.environ, **_OFFLINE, 'PYTHONPATH': os.pathsep.join(paths)}
    env['PYTHONUNBUFFERED'] = '1'  # the last line of the log is the last that was said
    if device.type == 'cpu':
        env['CUDA_VISIBLE_DEVICES'] = ''
    with (
        log.open('wb') as file,
        subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,  # so that it can be ended with all that it has started
        ) as process,
    ):
        try:
            return process.wait(limit)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM leaves by an exception, as Ctrl-C does, so that no part outlives this process."""

    def leave(*_: object) -> None:
        sys.exit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding='utf-8', errors='replace').strip().splitlines()
    return lines[-1].strip()[:300] if lines else 'no output'


def show_rows(report: Report, console: Console | None = None) -> None:
    """Print the table: a line for each part, and for each figure of a check."""
    small = ', --quick: the smallest models' if report['quick'] else ''
    title = f'{report["device"]}{small}, {report.get("seconds", 0):.0f} s'
    table = Table('row', 'part', 'status', 's', 'figures', title=title)
    for number, row in sorted(report['rows'].items(), key=lambda item: int(item[0])):
        if not row['parts']:
            table.add_row(number, row['name'], *_state(row), row['reason'])
        for part in row['parts']:
            table.add_row(number, part['name'], *_state(part), part.get('reason', ''))
            for name, status, said in _lines(part.get('result', {})):
                table.add_row('', f'  {name}', *_state(status), said)
    console = console or Console(width=max(Console().width, 130))
    console.print(table)


def _state(facts: Mapping[str, Any]) -> tuple[str, str]:
    status, seconds = facts.get('status', ''), facts.get('seconds')
    style = _STYLES.get(status)
    shown = f'[{style}]{status}[/]' if style else status
    return shown, '' if seconds is None else f'{seconds:.0f}'


def _lines(result: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """Name, status and figures of what a part found: of each check, or each system."""
    if 'systems' in result:
        for name, figures in result['systems'].items():
            yield name, {}, _of_system(figures, result['ratio'].get(name))
        for name, why in result['skipped'].items():
            yield name, {'status': 'skipped'}, why
    elif result.get('task') == 'count':
        yield 'step', {}, f'{result["operators"]} operators, {result["gigabytes"]:.4g} GB'
    else:
        for name, figures in result.items():
            yield name, figures, figures.get('reason') or _in_short(figures)


def _of_system(figures: Mapping[str, Any], ratio: float | None) -> str:
    said = [f'{figures["images_per_second"]:,.4g} images/s']
    columns: tuple[tuple[str, Callable[[Any], str]], ...] = (
        ('share_of_peak', lambda x: f"{x:.0%} of the products' rate"),
        ('peak_memory_bytes', lambda x: f'{x / 2**30:.4g} GiB'),
    )
    said += [write(figures[key]) for key, write in columns if figures.get(key) is not None]
    said += [] if ratio is None else [f'{OURS} / this {ratio:.2f}']
    return ', '.join(said)


def _in_short(figures: Mapping[str, Any]) -> str:
    """What is a number or a word; the JSON file has the rest."""
    said = []
    for key, value in figures.items():
        if key in ('status', 'seconds') or isinstance(value, dict | list):
            continue
        text = f'{value:.4g}' if isinstance(value, float) else str(value)
        said.append(f'{key} {text}')
    return ', '.join(said)
