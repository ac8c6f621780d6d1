import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mae.benchmark.measure import Timing
from mae.benchmark.report import (
    agreement,
    build_report,
    prepare_output,
    ratios,
    show,
    throughput,
    write_report,
)


def figures(*rounds, images=10, **more):
    return {**throughput(Timing(rounds), images), **more}


MACHINE = {'name': 'a machine', 'type': 'cpu'}


def test_throughput():
    found = figures(2.0, 1.0, 4.0, images=8)
    assert found['images_per_second'] == 4.0
    assert found['rounds'] == [2.0, 1.0, 4.0]


def test_ratio_is_of_the_medians_and_its_quartiles_of_the_rounds():
    systems = {'mae': figures(1.0, 2.0, 4.0), 'slow': figures(3.0, 6.0, 12.0)}
    systems['half'] = figures(0.5, 1.0, 2.0)
    found = ratios(systems)
    assert found['ratio'] == {'slow': 3.0, 'half': 0.5}
    assert found['ratio_quartiles'] == {'slow': (3.0, 3.0), 'half': (0.5, 0.5)}
    speeds = {name: system['images_per_second'] for name, system in systems.items()}
    assert found['ratio']['slow'] == pytest.approx(speeds['mae'] / speeds['slow'])


def test_a_place_meets_ours_at_that_place():
    systems = {'mae': figures(1.0), 'x': figures(2.0)}
    systems |= {'mae at 9': figures(10.0), 'x at 9': figures(50.0)}
    assert ratios(systems)['ratio'] == {'x': 2.0, 'x at 9': 5.0}


def test_agreement():
    systems = {'mae': {'loss': 1.0}, 'near': {'loss': 1.005}, 'far': {'loss': 1.1}, 'mute': {}}
    assert agreement(systems, 0.01) == {'near': True, 'far': False}


@pytest.fixture
def report():
    systems = {
        'mae': figures(
            1.0, loss=1.0, activation_bytes_per_image=2.0**20, peak_memory_bytes=5 * 2**29
        ),
        'peer': figures(2.0, loss=2.0, switch='sdpa'),
    }
    return build_report(
        'step', systems, machine=MACHINE, config='c', skipped={'gone': 'why'}, command='python x',
        batch_size=3,
    )  # fmt: skip


def test_json_holds_what_a_reader_needs(report, tmp_path):
    prepare_output(tmp_path / 'new' / 'a.json')
    assert not list((tmp_path / 'new').iterdir())
    write_report(report, tmp_path / 'new' / 'a.json')
    found = json.loads((tmp_path / 'new' / 'a.json').read_text())
    assert {'task', 'device', 'config', 'systems', 'ratio', 'versions', 'command', 'date'} <= {
        *found
    }
    assert found['systems']['peer']['images_per_second'] == 5.0
    assert found['ratio'] == {'peer': 2.0}
    assert found['skipped'] == {'gone': 'why'}
    assert found['agree'] == {'peer': False}
    assert found['versions']['torch']
    assert [path.name for path in (tmp_path / 'new').iterdir()] == ['a.json']


def test_where_no_report_can_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ValueError, match=r'file is a file; a\.json is to be written into a fold'):
        prepare_output(tmp_path / 'file' / 'a.json')
    with pytest.raises(OSError, match='not a regular file'):
        prepare_output(Path('/dev/null'))


def test_table(report):
    text = io.StringIO()
    show(report, Console(file=text, width=120))
    out = text.getvalue()
    assert 'sdpa' in out
    assert '2.00' in out
    assert 'MiB/image' in out
    assert 'peak, GiB' in out
    assert ' 2.50 ' in out
    assert 'TFLOP/s' not in out  # nobody has it
    assert 'warning: peer computes something else' in out
