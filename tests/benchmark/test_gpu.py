"""The rows of `tools/benchmark.py gpu`: limits, failures, what is written, and bad input."""

import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from rich.console import Console

from mae.benchmark import GPU_ROWS, gpu
from mae.benchmark.gpu import Command, failures, parts_of, run_row, show_rows

ROOT = Path(__file__).parents[2]
CPU = torch.device('cpu')


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_tool', ROOT / 'tools/benchmark.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def part(tmp_path):
    def make(code, name='part', why_not=''):
        result = tmp_path / f'{name}.json'
        words = (sys.executable, '-c', code, str(result))
        return Command(name, name, words, result, why_not)

    return make


WRITE = 'import sys; open(sys.argv[1], "w").write(\'{"copy": {"status": "ok", "gb": 2.5}}\')'


def test_every_row_has_its_parts_a_time_and_a_name(tmp_path):
    assert sorted(gpu._SECONDS) == sorted(gpu._PARTS) == sorted(gpu._QUICK) == list(GPU_ROWS)
    assert sum(gpu._SECONDS.values()) <= 620  # ten minutes, when nothing takes longer
    names = []
    for number in GPU_ROWS:
        for quick in (False, True):
            parts = parts_of(number, torch.device('cuda'), tmp_path, quick=quick)
            assert bool(parts) or quick
            names += [part.name for part in parts if not quick]
            assert all(part.why_not == '' for part in parts)
    assert len(set(names)) == len(names)  # each has a log of its own


def test_parts_are_commands_that_their_tools_take(tool, tmp_path):
    """Those of `tools/benchmark.py` parse; files of checks and of tests are there."""
    from mae.benchmark.on_device.__main__ import NAMES

    for number in GPU_ROWS:
        for quick in (False, True):
            for part in parts_of(number, CPU, tmp_path, quick=quick):
                program, *words = part.words[1:]
                if program != '-m':
                    args = tool.parse_args(words)
                    assert args.json == part.result
                    assert getattr(args, 'device', 'cpu') == 'cpu'
                elif words[0] == 'pytest':
                    paths = [word for word in words if word.startswith(str(ROOT))]
                    assert paths
                    assert all(Path(path).exists() for path in paths)
                else:
                    assert words[1] in NAMES
                    assert ('--quick' in words) == quick


def test_a_part_that_fails_or_hangs_stops_no_other(part, tmp_path):
    start = time.monotonic()
    bad = part('print("why"); raise SystemExit("broken here")', 'bad')
    row = run_row([bad, part(WRITE, 'good')], 60.0, CPU)
    assert [p['status'] for p in row['parts']] == ['failed', 'ok']
    assert row['status'] == 'failed'
    assert row['parts'][0]['reason'] == 'broken here'
    assert (tmp_path / 'bad.log').read_text().startswith('why')
    assert row['parts'][1]['result'] == {'copy': {'status': 'ok', 'gb': 2.5}}
    assert time.monotonic() - start < 60


def test_a_part_over_its_limit_ends_with_what_it_has_started_and_its_figures_stay(part, tmp_path):
    started = tmp_path / 'child'
    child = f'import os, time; open({str(started)!r}, "w").write(str(os.getpid())); time.sleep(600)'
    code = f'{WRITE}\nimport subprocess; subprocess.run([sys.executable, "-c", {child!r}])'
    row = run_row([part(code)], 5.0, CPU)
    (found,) = row['parts']
    assert found['status'] == row['status'] == 'timeout'
    assert found['reason'] == 'ended after 5 s'
    assert found['result'] == {'copy': {'status': 'ok', 'gb': 2.5}}
    stat = Path(f'/proc/{int(started.read_text())}/stat')
    deadline = time.monotonic() + 10
    while stat.exists() and stat.read_text().split(') ')[-1][0] != 'Z':
        assert time.monotonic() < deadline, 'the child of a part outlived it'
        time.sleep(0.05)


def test_what_cannot_run_or_is_not_reached_is_skipped(part):
    row = run_row([part(WRITE, 'a', 'not here'), part(WRITE, 'b')], 0.0, CPU)
    reasons = [(p['status'], p['reason']) for p in row['parts']]
    assert reasons == [('skipped', 'not here'), ('skipped', 'no time left')]
    assert row['status'] == 'skipped'


def test_a_file_of_an_earlier_run_is_no_result(part):
    old = part('pass')
    old.result.write_text('{"copy": {"status": "ok"}}')
    assert 'result' not in run_row([old], 60.0, CPU)['parts'][0]


def test_parts_are_offline_and_see_no_gpu_on_a_cpu(part):
    code = (
        'import json, os, sys\n'
        'keys = ("HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES")\n'
        'json.dump({key: os.environ.get(key) for key in keys}, open(sys.argv[1], "w"))'
    )
    found = run_row([part(code)], 60.0, CPU)['parts'][0]['result']
    assert found == {'HF_HUB_OFFLINE': '1', 'CUDA_VISIBLE_DEVICES': ''}


def test_report_is_written_after_each_row_and_the_order_is_that_of_weight(
    monkeypatch, tmp_path, part
):
    seen = []

    def planned(number, device, out, *, quick):
        written = out / 'gpu.json'
        seen.append((number, written.exists() and list(json.loads(written.read_text())['rows'])))
        return [part('raise SystemExit(3)' if number == 6 else WRITE, str(number))]

    monkeypatch.setattr(gpu, 'parts_of', planned)
    report = gpu.run(CPU, tmp_path, rows=[3, 6, 0], quick=True, command='x')
    assert seen == [(0, False), (6, ['0']), (3, ['0', '6'])]
    assert failures(report) == ['6']
    assert json.loads((tmp_path / 'gpu.json').read_text())['rows'] == report['rows']
    table = (tmp_path / 'gpu.txt').read_text()
    assert re.search(r'6 .* failed', table)
    assert 'gb 2.5' in table


def test_table_of_systems_and_counts():
    systems = {
        'mae': {'images_per_second': 5000.0, 'share_of_peak': 0.4, 'peak_memory_bytes': 2**31},
        'lightly': {'images_per_second': 4000.0},
    }
    step = {'systems': systems, 'ratio': {'lightly': 1.25}, 'skipped': {'timm': 'not here'}}
    counted = {'task': 'count', 'operators': 1910, 'gigabytes': 114.0}
    parts = [
        {'name': 'step', 'status': 'ok', 'seconds': 3.0, 'result': step},
        {'name': 'count', 'status': 'ok', 'seconds': 3.0, 'result': counted},
    ]
    rows = {'7': {'name': 'step', 'status': 'ok', 'parts': parts}}
    rows['8'] = {'name': 'compiled', 'status': 'skipped', 'parts': [], 'reason': 'not in --quick'}
    console = Console(file=io.StringIO(), width=160)
    show_rows({'device': 'H200', 'quick': False, 'rows': rows}, console)
    said = console.file.getvalue()
    for text in (
        "5,000 images/s, 40% of the products' rate, 2 GiB",
        '4,000 images/s, mae / this 1.25',
        'not here',
        '1910 operators, 114 GB',
        'not in --quick',
    ):
        assert text in said


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there(tool, tmp_path):
    with pytest.raises(ValueError, match=r"^no device 'cuda': torch sees 0 GPUs here; 'cpu' runs$"):
        tool.main(['gpu', '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_cannot_be_written(tool, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='file'):
        tool.main(['gpu', '--device', 'cpu', '--out', str(tmp_path / 'file' / 'out')])


@pytest.mark.parametrize(
    'words', [['--rows', '13'], ['--rows', 'step'], ['--minutes', '0'], ['--device', 'tpu']]
)
def test_malformed(tool, words, capsys):
    with pytest.raises(SystemExit) as error:
        tool.parse_args(['gpu', *words])
    assert error.value.code == 2
    assert words[0] in capsys.readouterr().err.splitlines()[-1]


def test_failed_rows_are_named_in_one_line(tool, tmp_path, monkeypatch):
    rows = {'6': {'status': 'timeout'}, '10': {'status': 'failed'}, '1': {'status': 'ok'}}
    for row in rows.values():
        row |= {'name': 'x', 'parts': [], 'reason': ''}
    report = {'device': 'x', 'quick': True, 'rows': rows}
    monkeypatch.setattr(gpu, 'run', lambda *args, **kwargs: report)
    with pytest.raises(ValueError, match=r'^failed: row 6, 10; logs are in '):
        tool.main(['gpu', '--device', 'cpu', '--quick', '--out', str(tmp_path)])


def test_sigterm_ends_the_part_too(tmp_path):
    """As `timeout` and a scheduler end it."""
    code = f"""
import os, sys
from pathlib import Path
import torch
from mae.benchmark import gpu
code = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'
result = Path({str(tmp_path)!r}) / 'part.json'
part = gpu.Command('part', 'part', (sys.executable, '-c', code), result)
gpu.parts_of = lambda *args, **kwargs: [part]
gpu.run(torch.device('cpu'), result.parent, rows=[0], quick=True)
"""
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    with subprocess.Popen([sys.executable, '-c', code], env=env) as process:
        log = tmp_path / 'part.log'
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().endswith('\n')):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    stat = Path(f'/proc/{int(log.read_text())}/stat')
    assert not stat.exists() or stat.read_text().split(') ')[-1][0] == 'Z'
