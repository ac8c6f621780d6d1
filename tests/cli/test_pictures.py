"""`mae picture`, `mae log` and `mae config cost`: what they write, refuse, and that runs agree."""

import json
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mae.__main__ import COMMANDS, main
from mae.apis import load_config
from mae.apis.batch_picture import first_batch, training_inputs
from mae.apis.schedule_picture import learning_rates
from mae.engine.loops import TrainLoop
from mae.models.preprocessors import ImagePreprocessor
from mae.registry import MODELS
from mae.zoo.cost import encoder_flops

ROOT = Path(__file__).resolve().parents[2]
DOORS = {
    'visualization/browse_dataset': 'picture batch',
    'visualization/neighbours': 'picture neighbours',
    'visualization/vis_attention': 'picture attention',
    'visualization/vis_pca': 'picture pca',
    'visualization/vis_tsne': 'picture features',
    'analysis/analyze_logs': 'log',
    'analysis/analyze_results': 'picture mistakes',
    'analysis/confusion_matrix': 'picture confusion',
    'analysis/get_flops': 'config cost',
    'analysis/print_config': 'config print',
    'analysis/vis_scheduler': 'picture schedule',
}
MODEL = 'mae_vit-mini-p4_1xb64-coslr-170e_digits-16'
MIXED = """
model = dict(preprocessor=dict(mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0), erase=dict(prob=0.9)))
train_cfg = dict(max_epochs=2, val_interval=2)
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(logger=dict(interval=1))
"""


def refused(*words, capsys):
    """The one line on stderr of a command that fails."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, words)])
    assert end.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if 'error:' in line]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture(autouse=True)
def _no_signals(monkeypatch):
    monkeypatch.setattr('signal.signal', lambda *_: None)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 16), np.uint8)).save(path)
    return path


@pytest.mark.parametrize('tool', DOORS)
def test_tools_are_doors(tool):
    spec = spec_from_file_location('a_tool', ROOT / 'tools' / f'{tool}.py')
    found = module_from_spec(spec)
    spec.loader.exec_module(found)
    row = COMMANDS[DOORS[tool]]
    assert found.main.__module__ == f'mae.commands.{row.module}'
    assert found.main.__name__ == row.function


def test_a_run_has_the_batches_and_rates_of_the_pictures(
    train, write_config, work_dir, monkeypatch
):
    """Order, crops, mixup and erasing of both epochs' first steps, and the rate of each step."""
    batches, mixed = [], []
    run_step, prepare = TrainLoop._run_step, ImagePreprocessor.forward

    def note_batch(loop, step, given):
        if step == 0:
            batches.append(given[0])
        run_step(loop, step, given)

    def note_inputs(preprocessor, data, training=False):
        found = prepare(preprocessor, data, training)
        if training:
            mixed.append(found['inputs'].clone())
        return found

    monkeypatch.setattr(TrainLoop, '_run_step', note_batch)
    monkeypatch.setattr(ImagePreprocessor, 'forward', note_inputs)
    assert train(text=MIXED, base='ft').code == 0
    monkeypatch.undo()
    config = load_config(write_config(MIXED, 'ft'))

    for epoch, batch in enumerate(batches):
        first = first_batch(config, 4, epoch)
        assert first.step == epoch * len(mixed) // 2
        assert first.batch['ids'].tolist() == batch['ids'].tolist()
        assert torch.equal(first.batch['inputs'], batch['inputs'])
        mean, std = (torch.tensor(config.model.preprocessor[name]) for name in ('mean', 'std'))
        levels = (mixed[first.step] * std + mean).round().clamp(0, 255)
        assert torch.equal(training_inputs(config, first), levels.to(torch.uint8))
        assert not torch.equal(levels.to(torch.uint8), batch['inputs'])

    (log,) = work_dir.glob('*/vis_data/scalars.json')
    logged = [json.loads(line) for line in log.read_text().splitlines()]
    rates = learning_rates(config)
    trained = [row for row in logged if 'loss' in row]
    assert [row['step'] for row in trained] == list(range(1, rates.steps + 1))
    assert [row['lr'] for row in trained] in (rates.lowest, rates.highest)


def test_attention_and_pca(photo, checkpoint, write_config, tmp_path, capsys):
    model = write_config(), photo, '--weights', checkpoint('mae')
    for kind in ('attention', 'pca'):
        out = tmp_path / f'new/{kind}.png'
        main(['picture', kind, *map(str, model), '--out', str(out)])
        assert Image.open(out).size[0] > 300
    line = refused('picture', 'attention', *model, '--block', 5, capsys=capsys)
    assert line == 'error: the encoder has blocks 0 to 0, and no block 5'
    photo.write_text('none')
    out = tmp_path / 'none.png'
    line = refused('picture', 'pca', *model, '--out', out, capsys=capsys)
    assert 'photo.png' in line
    assert not out.exists()


def test_confusion_and_mistakes(checkpoint, write_config, tmp_path, capsys):
    config, weights = write_config(base='ft'), checkpoint('ft')
    picture, counts = tmp_path / 'confusion.png', tmp_path / 'counts.json'
    main(
        [
            'picture',
            'confusion',
            str(config),
            str(weights),
            '--out',
            str(picture),
            '--counts',
            str(counts),
        ]
    )
    assert Image.open(picture).size[0] > 300
    found = json.loads(counts.read_text())
    right = sum(row[number] for number, row in enumerate(found['counts']))
    assert f': {right} of 360 images right' in capsys.readouterr().out
    page = tmp_path / 'mistakes.html'
    main(['picture', 'mistakes', str(config), str(weights), '--out', str(page), '--num', '3'])
    losses = [float(line[:6]) for line in capsys.readouterr().out.splitlines()[:3]]
    assert losses == sorted(losses, reverse=True)
    assert '<img src="data:image/png;base64,' in page.read_text()


def test_a_checkpoint_without_a_head(checkpoint, write_config, capsys):
    words = 'picture', 'confusion', write_config(base='ft'), checkpoint('mae')
    assert 'error: the weights bring no head that fits' in refused(*words, capsys=capsys)


@pytest.mark.parametrize(
    ('words', 'text'),
    [
        (['picture', 'schedule', 'no_such_config'], 'error: no such config: no_such_config'),
        (['picture', 'batch', 'no_such_config'], 'error: no such config: no_such_config'),
        (['config', 'cost', 'vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img'],
         'error: operations are counted of an MAE or a Classifier, not of Segmenter'),
        (['picture', 'batch', 'vit-mini-p4_seg-linear-1xb25-coslr-200e_digit-scenes-24-100img'],
         'error: only the training images of an MAE or a Classifier are drawn, not of Segmenter'),
        (['picture', 'schedule', 'vit-mini-p4_knn-1xb360_digits-16'],
         'describes no training: train_dataloader is missing'),
        (['picture', 'schedule', 'mae_vit-base-p16_8xb512-amp-coslr-400e_in1k'], 'num_images'),
        (['log', '.'], 'error: . is no work dir of a run'),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(words, text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert text in refused(*words, capsys=capsys)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    'words',
    [
        ['attention', 'MODEL', 'IMAGE', '--out', 'a.jpg'],
        ['features', 'MODEL', 'IMAGE', '--out', 'a.png'],
        ['features', 'MODEL', 'IMAGE', '--max-images', '0'],
        ['neighbours', 'MODEL', 'IMAGE', '-k', '0'],
        ['batch', 'CONFIG', '--epoch', '-1'],
        ['schedule', 'CONFIG', '--num-images', '0'],
        ['mistakes', 'CONFIG', 'CHECKPOINT', '--num', '0'],
    ],
)
def test_malformed_command_line(words, capsys):
    with pytest.raises(SystemExit) as end:
        main(['picture', *words])
    assert end.value.code == 2
    assert 'usage: ' in capsys.readouterr().err


def test_places_that_cannot_be_written(photo, tmp_path, capsys):
    """Are refused before any work."""
    (tmp_path / 'folder.png').mkdir()
    for out in (tmp_path / 'folder.png', photo / 'new/a.png'):
        for kind in ('attention', 'mistakes', 'confusion'):
            line = refused('picture', kind, 'no-config', 'nothing', '--out', out, capsys=capsys)
            assert line.startswith(f'error: {out} ')
    words = 'picture', 'confusion', 'no-config', 'nothing', '--counts', photo / 'a.json'
    assert refused(*words, capsys=capsys).endswith(f'{photo} is no folder')


def test_log_of_what_is_none(tmp_path, capsys):
    log = tmp_path / 'a.json'
    for text in ('[1, 2]\n', '{"loss": "high", "time": 1}\n{"loss": null}\n'):
        log.write_text(text)
        refused('log', log, '--out', tmp_path / 'loss.svg', capsys=capsys)
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


def test_log(tmp_path, capsys):
    log = tmp_path / 'run/1/vis_data/scalars.json'
    log.parent.mkdir(parents=True)
    rows = [
        {'lr': 0.1, 'time': 0.5, 'loss': 3.0, 'epoch': 1, 'iter': 2, 'step': 2},
        {'lr': 0.2, 'time': 0.1, 'loss': 1.5, 'epoch': 2, 'iter': 6, 'step': 6},
        {'top1': 40.0, 'time': 9.0, 'step': 2},  # of epoch 2
    ]
    log.write_text(''.join(f'{json.dumps(row)}\n' for row in rows))
    main(['log', str(tmp_path / 'run'), '--out', str(tmp_path / 'loss.svg')])
    out = capsys.readouterr().out
    assert ': 0.2333 s a step' in out
    assert re.search(r'loss .* 3 .* 1.5 at 6 .* 3 at 2', out)
    assert re.search(r'top1 .* 40 at 6', out)
    assert 'rolled back' not in out
    assert '9 at' not in out
    assert (tmp_path / 'loss.svg').read_text().startswith('<svg')
    again = {**rows[1], 'iter': 7, 'step': 7}
    log.write_text(log.read_text() + 2 * f'{json.dumps(again)}\n')
    main(['log', str(tmp_path / 'run')])
    assert '; 1 step was rolled back and left out\n' in capsys.readouterr().out
    line = refused('log', tmp_path / 'run', '--keys', 'lss', capsys=capsys)
    assert line == 'error: --keys: nothing was logged as lss; did you mean loss?'


def test_cost(capsys):
    main(['config', 'cost', MODEL])
    rows = dict(
        re.split('  +', line.strip()) for line in capsys.readouterr().out.splitlines()[:-1] if line
    )
    model = MODELS.build(load_config(MODEL).model)
    number = sum(parameter.numel() for parameter in model.parameters())
    assert rows['parameters'] == f'{number / 1e3:.2f} k'
    assert rows['visible patches'] == '4 of 16'
    assert rows['encoder of the whole image'] == f'{encoder_flops(model.encoder) / 1e6:.2f} MFLOP'
