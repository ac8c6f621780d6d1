"""Whole examinations: silent on what is sound, each planted fault found, nothing left behind."""

import json
import re
import shutil
import time

import numpy as np
import pytest

from mae.__main__ import main
from mae.apis import load_config
from mae.apis.own_data import write_pretraining
from mae.apis.recipe_rules import Given
from mae.datasets import SeededDataset
from mae.datasets.transforms.base import Transform
from mae.doctor import Examination, ExaminedPart, FoundFault, Severity, examine_run
from mae.doctor.findings import FAULTS
from mae.doctor.render import as_page, part_lines, verdict
from mae.models.masking.base import Masker
from mae.registry import MODELS, TRANSFORMS
from mae.utils.errors import ConfigError
from tests.own_images import save

SECONDS = 0.3
DIGITS = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'


@MODELS.register_module()
class SameForAllMasker(Masker):
    """Scores do not depend on the keys."""

    def score(self, grid_size, keys):
        scores = np.random.default_rng(0).permutation(grid_size[0] * grid_size[1])
        return keys.new_tensor(scores).expand(len(keys), -1)


@TRANSFORMS.register_module()
class Wait(Transform):
    """Takes a while for each image."""

    is_random = False

    def transform(self, results):
        time.sleep(0.05)
        return results


def names(examination):
    return {finding.name for finding in examination.findings}


def test_a_sound_pretraining(pretraining, host, tmp_path, monkeypatch):
    parts, built = [], []
    build = SeededDataset.__init__
    monkeypatch.setattr(
        SeededDataset, '__init__', lambda self, *a, **k: built.append(1) or build(self, *a, **k)
    )
    found = examine_run(pretraining(), host=host(), seconds=SECONDS, tell=parts.append)
    assert found.findings == []
    assert (found.severity, found.exit_code) == (Severity.OK, 0)
    assert found.parts == parts
    assert len(built) == 1
    assert [part.name for part in parts] == [
        *('environment', 'data', 'schedule', 'learning', 'pace', 'memory', 'cost')
    ]
    assert not (tmp_path / 'run').exists()


def test_the_config_of_a_folder_of_photographs_is_sound(photos, host, tmp_path):
    path = write_pretraining(photos, tmp_path / 'run', Given(arch='tiny'))
    before = sorted((tmp_path / 'run').rglob('*'))
    config = load_config(path, {'train_dataloader.num_workers': 0})
    found = examine_run(config, host=host(), seconds=SECONDS)
    assert found.severity <= Severity.NOTE, [part_lines(part) for part in found.parts]
    assert sorted((tmp_path / 'run').rglob('*')) == before


def test_ten_planted_faults(pretraining, photos, host):
    """Eight in this run, the labels and the loader in the next."""
    for number in range(6):
        shutil.copy(photos / 'ant' / f'ant{number}.png', photos / f'copy {number}.png')
    for number in range(3):
        save(photos / f'black {number}.png', np.zeros((20, 24, 3), np.uint8) + number)
    config = pretraining(
        **{
            'base_lr': 0.3,
            'model.preprocessor.mean': [0.485, 0.456, 0.406],
            'model.preprocessor.std': [0.229, 0.224, 0.225],
            'model.masker.type': 'SameForAllMasker',
            'train_dataloader.num_workers': 2,
        }
    )
    found = examine_run(config, host=host(cores=1, memory=5 << 20, disk=1 << 20), seconds=SECONDS)
    assert names(found) >= {
        'wrong_mean',
        'duplicate_files',
        'constant_images',
        'rate_above_rule',
        'masks_equal',
        'batch_does_not_fit',
        'disk_too_small',
        'workers_beyond_cores',
    }
    assert (found.severity, found.exit_code) == (Severity.ERROR, 4)


def listed(photos, folder, numbers):
    """Copies of the images in one folder, with a list of labels by number."""
    folder.mkdir()
    lines = []
    for path in sorted(photos.rglob('*.png')):
        shutil.copy(path, folder)
        lines.append(f'{path.name} {numbers[path.parent.name]}')
    (folder / 'labels.txt').write_text('\n'.join(lines))
    return dict(type='ImageFolder', root=str(folder), list_file='labels.txt')


def test_shifted_labels_and_a_slow_loader(finetuning, photos, host, tmp_path):
    sound = listed(photos, tmp_path / 'train', {'ant': 0, 'bee': 1, 'cat': 2})
    shifted = listed(photos, tmp_path / 'val', {'ant': 1, 'bee': 2, 'cat': 0})
    config = finetuning()
    config.train_dataloader.dataset.source = sound
    config.train_dataloader.dataset.pipeline.insert(1, dict(type='Wait'))
    loader = config.train_dataloader.to_dict()
    config.val_dataloader = dict(
        loader,
        sampler=dict(type='ShardSampler'),
        dataset=dict(
            type='SeededDataset',
            source=shifted,
            pipeline=[dict(type='DecodeImage'), dict(type='CenterCrop'), dict(type='PackInputs')],
        ),
    )
    config.val_cfg, config.val_evaluator = dict(type='ValLoop'), dict(type='Accuracy', topk=(1,))
    found = examine_run(config, host=host(), seconds=SECONDS)
    assert names(found) == {'labels_shifted', 'slow_loader', 'validation_seen_in_training'}


def test_an_image_that_cannot_be_read_is_named_and_replaced(pretraining, photos, host):
    (photos / 'ant/ant0.png').write_bytes(b'nothing')
    found = examine_run(pretraining(), host=host(), seconds=SECONDS)
    (fault,) = (f for f in found.findings if f.name == 'unreadable_images')
    assert 'ant0.png' in fault.what


def test_without_data_the_rest_is_examined_twice_alike(pretraining, host, tmp_path):
    config = pretraining(**{'train_dataloader.dataset.source.root': str(tmp_path / 'nowhere')})
    first, second = (examine_run(config, host=host(), seconds=SECONDS) for _ in range(2))
    assert [finding.name for finding in first.findings] == ['data_missing']
    assert first.findings == second.findings
    losses = [
        next(part.facts['losses'] for part in found.parts if part.name == 'learning')
        for found in (first, second)
    ]
    number = min(map(len, losses)) - 1  # as many as there is time for, and one without gradients
    assert number >= 6
    assert losses[0][:number] == losses[1][:number]
    text = '\n'.join(line for part in first.parts for line in part_lines(part))
    assert 'nowhere' in text
    assert FAULTS['data_missing'].cure in text
    assert verdict(first).endswith(f'1 error ({first.seconds:.0f} s)')


def test_weights_that_are_no_checkpoint_are_one_fault(finetuning, host, tmp_path):
    (tmp_path / 'weights.pth').write_text('nothing')
    config = finetuning(load_from=str(tmp_path / 'weights.pth'))
    found = examine_run(config, host=host(), seconds=SECONDS)
    assert [f.name for f in found.findings if f.severity is Severity.ERROR] == ['weights_unfit']
    assert 'pace' in [part.name for part in found.parts if part.facts]


def test_what_the_run_would_refuse_is_refused(finetuning, host):
    config = finetuning(**{'model.head.num_classes': 2})
    with pytest.raises(ConfigError, match=r'has 3 classes, but model.head.num_classes=2'):
        examine_run(config, host=host(), seconds=SECONDS)


@pytest.mark.parametrize(
    ('epochs', 'line'),
    [(50, 'a step takes'), (1, 'not examined: the run has one step')],
)
def test_a_run_whose_epochs_have_one_step(pretraining, host, epochs, line):
    changes = {'global_batch_size': 30, 'train_dataloader.batch_size': 30}
    config = pretraining(**changes, **{'train_cfg.max_epochs': epochs})
    config.param_scheduler.warmup_epochs = 0
    parts = {part.name: part for part in examine_run(config, host=host(), seconds=SECONDS).parts}
    assert line in '\n'.join(parts['pace'].lines)
    assert parts['schedule'].facts['steps'] == epochs
    assert ('hours' in parts['cost'].facts) == (epochs > 1)


def test_another_loop_is_refused_before_anything_is_built(pretraining, host):
    config = pretraining(**{'train_cfg.type': 'EpochBasedTrainLoop'})
    parts = []
    with pytest.raises(ConfigError, match="must be 'TrainLoop', not 'EpochBasedTrainLoop'"):
        examine_run(config, host=host(), seconds=SECONDS, tell=parts.append)
    assert parts == []


def test_the_command(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr('signal.signal', lambda *_: None)
    monkeypatch.chdir(tmp_path)
    page, data = tmp_path / 'a.html', tmp_path / 'a.json'
    words = ['doctor', DIGITS, '--seconds', '1', '--html', str(page), '--json', str(data)]
    with pytest.raises(SystemExit) as end:
        main(words)
    said = capsys.readouterr().out
    assert end.value.code == 0, said
    assert said.startswith(f'examining {DIGITS}\nenvironment ')
    assert f'{DIGITS}: nothing to object to' in said
    facts = json.loads(data.read_text())
    assert (facts['severity'], facts['findings']) == ('ok', [])
    assert facts['parts']['cost']['hours'] > 0
    assert facts['parts']['memory']['peak_bytes'] > 0
    assert '<svg class="chart"' in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.html', 'a.json']


@pytest.mark.parametrize(
    ('words', 'code', 'text'),
    [
        ([DIGITS, '--html', 'a.json'], 2, '--html must end in .html, not a.json'),
        ([DIGITS, '--seconds', '0'], 2, '--seconds must be positive, not 0'),
        (['vit-mini-p4_knn-1xb360_digits-16'], 1, ' describes no training: '),
    ],
)
def test_bad_input_is_one_line(words, code, text, capsys, monkeypatch):
    monkeypatch.setattr('signal.signal', lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main(['doctor', *words])
    assert end.value.code == code
    assert text in capsys.readouterr().err.splitlines()[-1]


def test_a_page_escapes_what_files_are_called():
    part = ExaminedPart('data', ['<b>.png'], [FoundFault('duplicate_files', '<b>.png is <i>.png')])
    page = as_page(Examination('<u>', [part], 1.0), 'mae doctor <s>')
    assert '&lt;b&gt;.png is &lt;i&gt;.png' in page
    assert not {'<b>', '<i>', '<u>', '<s>'} & set(re.findall('<.>', page))
