"""`tools/robustness.py` on trees of the real layouts with tiny images."""

import io
import json
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from weakref import ref

import pytest
import torch
from PIL import Image

from mae.apis import init_model, load_config
from mae.apis.cli import run_command
from mae.datasets.sources import imagenet_c
from mae.datasets.sources.imagenet_c import CORRUPTIONS
from mae.models.algorithms import Classifier
from mae.protocol.robustness import SETS as ROBUSTNESS_SETS
from mae.protocol.robustness import FineTunedModel, find_folder, read_published
from mae.utils.class_lists import class_list
from tests.forked import in_two_processes

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
WNIDS = class_list('imagenet')
NUMBERS = (5, 293)  # of the validation images that there are

CONFIG = """
_base_ = 'mae::_base_/default_runtime.py'
model = dict(
    type='Classifier',
    preprocessor=dict(type='ImagePreprocessor', mean=[120.0] * 3, std=[60.0] * 3),
    encoder=dict(type='ViTEncoder', arch='tiny', img_size=32, patch_size=16),
    head=dict(type='LinearHead', num_classes=1000),
    loss=dict(type='CrossEntropyLoss'),
)
test_dataloader = dict(
    batch_size=50,
    num_workers=0,
    sampler=dict(type='ShardSampler'),
    dataset=dict(
        type='SeededDataset',
        source=dict({source}),
        pipeline=[dict(type='DecodeImage'), dict(type='CenterCrop'), dict(type='PackInputs')],
    ),
)
test_cfg = dict(type='TestLoop')
test_evaluator = {evaluator}
"""
SETS = {
    'in-c': ("type='ImageNetC', root=''", "dict(type='CorruptionError')"),
    'in-a': (
        "type='ImageFolder', root='', classes='imagenet'",
        "dict(type='SubsetAccuracy', subset='imagenet-a')",
    ),
    'in-sketch': (
        "type='ImageFolder', root='', classes='imagenet'",
        "dict(type='Accuracy', num_classes=1000)",
    ),
    'in-v2': (
        "type='ImageFolder', root='', classes='imagenet-v2'",
        "dict(type='Accuracy', num_classes=1000)",
    ),
    'in-real': (
        "type='ImageFolder', root='', split='val', classes='imagenet', file_numbers=True",
        "dict(type='RealAccuracy')",
    ),
}
METAFILE = """
Models:
  - Name: a paper's
    Config: configs/robustness/vit-tiny-p16_test-8xb128_in-c-32.py
    Results:
      - Dataset: ImageNet-C
        Metrics:
          mCE: 51.7
Published:
  - {Config: vit-tiny-p16_test-8xb128_in-a-32, Source: a paper, Metrics: {Top 1 Accuracy: 35.9}}
  - {Config: vit-tiny-p16_test-8xb128_in-a-32, Source: a user, Metrics: {Top 1 Accuracy: 36.4}}
  - {Config: vit-tiny-p16_test-8xb128_in-c-32, Source: users, Metrics: {Mean Error: 37 and 38}}
"""


def fill(folder, names, number=0):
    """An image for each class folder, of one colour."""
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        file = folder / name / f'ILSVRC2012_val_{NUMBERS[number]:08}.JPEG'
        Image.new('RGB', (32, 32), (40, 120, 200)).save(file)
        number = 1 - number


def pair(number, severity):
    """Classes of the two images of a folder; the model takes everything for class 3."""
    easy = severity == 1 or (number % 2 and severity == 2)
    classes = (3, 3) if easy else (900, 900) if severity == 5 else (3, 900)
    return tuple(WNIDS[label] for label in classes)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('robustness')


@pytest.fixture(scope='module')
def data(folder):
    """All sets but ImageNet-R; no test changes them."""
    root = folder / 'data'
    below = dict.fromkeys(CORRUPTIONS[:3], 'noise')
    for number, corruption in enumerate(CORRUPTIONS):
        place = root / 'imagenet-c' / below.get(corruption, '') / corruption
        for severity in range(1, 6):
            fill(place / str(severity), pair(number, severity))
        (place / 'README.txt').touch()
    (root / 'imagenet-c' / 'noise.tar').touch()
    fill(root / 'ImageNet_A', class_list('imagenet-a')[:3])
    (root / 'ImageNet_A' / 'README.txt').touch()
    fill(root / 'sketch', WNIDS[10:12])
    fill(root / 'imagenetv2-matched-frequency-format-val', ('100', '2', '11'))
    fill(root / 'imagenet' / 'val', WNIDS[:2])
    return root


@pytest.fixture(scope='module')
def configs(folder):
    configs = folder / 'configs'
    configs.mkdir()
    for key, (source, evaluator) in SETS.items():
        text = CONFIG.format(source=source, evaluator=evaluator)
        (configs / f'vit-tiny-p16_test-8xb128_{key}-32.py').write_text(text)
    (configs / 'metafile.yml').write_text(METAFILE)
    return configs


@pytest.fixture(scope='module')
def weights(configs, folder):
    torch.manual_seed(1)
    model = init_model(load_config(configs / 'vit-tiny-p16_test-8xb128_in-c-32.py'))
    torch.nn.init.normal_(model.head.fc.weight)
    with torch.no_grad():
        model.head.fc.bias[3] = 1e3
    path = folder / 'weights.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def robustness(data, configs, weights):
    """robustness(work_dir, *options) runs the tool on the data: status, stdout, stderr."""
    spec = spec_from_file_location('tool_robustness', TOOLS / 'robustness.py')
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)

    def call(work_dir, *options, checkpoint=weights, data=data, configs=configs):
        argv = [checkpoint, '--data', data, '--configs', configs, '--work-dir', work_dir, *options]
        stdout, stderr, code = io.StringIO(), io.StringIO(), 0
        with redirect_stdout(stdout), redirect_stderr(stderr):
            try:
                run_command(lambda: tool.main([str(word) for word in argv]))
            except SystemExit as end:
                code = end.code
        return code, stdout.getvalue(), stderr.getvalue()

    return call


@pytest.fixture(scope='module')
def all_sets(robustness, folder):
    """One run on all the data, as if ImageNet-C were whole.

    Work dir, stdout, how many models were built and live on, and how often a source was built.
    """
    models, built = [], Classifier.__init__
    sources, grouped = [], imagenet_c.ImageNetC.__init__

    def init(self, *arguments, **options):
        built(self, *arguments, **options)
        models.append(ref(self))

    def init_source(self, *arguments, **options):
        sources.append(arguments)
        grouped(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Classifier, '__init__', init)
        patch.setattr(imagenet_c.ImageNetC, '__init__', init_source)
        patch.setattr(imagenet_c, 'lacking', lambda *_: {})
        options = '--out', folder / 'table.json', '--markdown', folder / 'table.md'
        code, stdout, stderr = robustness(folder / 'run', *options)
    assert code == 0, stderr
    alive = sum(model() is not None for model in models)
    return SimpleNamespace(
        folder=folder, stdout=stdout, built=len(models), alive=alive, sources=len(sources)
    )


@pytest.fixture
def part_of_c(data, tmp_path):
    """ImageNet-C alone, with a corruption and a severity missing."""
    root = tmp_path / 'data'
    shutil.copytree(data / 'imagenet-c', root / 'imagenet-c', copy_function=os.link)
    shutil.rmtree(root / 'imagenet-c' / 'fog')
    shutil.rmtree(root / 'imagenet-c' / 'snow' / '2')
    return root


def error_of(result):
    code, _, stderr = result
    assert code == 1
    (line,) = [line for line in stderr.splitlines() if line.startswith('error: ')]
    return line


def rows_of(path):
    return {row['key']: row for row in json.loads(path.read_text())['rows']}


def test_all_sets_in_one_table(all_sets):
    table = json.loads((all_sets.folder / 'table.json').read_text())
    assert table == json.loads((all_sets.folder / 'run' / 'robustness.json').read_text())
    assert (table['arch'], table['size']) == ('vit-tiny-p16', 32)
    rows = {row['key']: row for row in table['rows']}
    assert [*rows] == [*SETS]
    assert {key: row['num_samples'] for key, row in rows.items()} == {
        'in-c': 150,
        'in-a': 3,
        'in-sketch': 2,
        'in-v2': 3,
        'in-real': 2,
    }
    assert rows['in-a']['folder'].endswith('ImageNet_A')
    assert [missing['title'] for missing in table['missing']] == ['ImageNet-R']
    text = (all_sets.folder / 'table.md').read_text()
    assert text == (all_sets.folder / 'run' / 'robustness.md').read_text()
    assert '| ImageNet-C | mce | ' in text
    assert ' | 51.7 | 150 |' in text
    for shown in (text, all_sets.stdout):
        assert 'not on the disk: ImageNet-R (imagenet-r)' in shown
    assert 'jpeg_compression' in (all_sets.folder / 'run' / 'robustness.html').read_text()


def test_no_set_keeps_its_model_in_memory(all_sets):
    assert all_sets.built == 5
    assert all_sets.alive <= 1


def test_the_files_of_a_set_are_listed_once(all_sets):
    assert all_sets.sources == 1


def test_published_numbers_stand_beside(all_sets):
    rows = rows_of(all_sets.folder / 'table.json')
    published = {key: row['published'] for key, row in rows.items()}
    assert published == {**dict.fromkeys(SETS), 'in-c': 51.7, 'in-a': 35.9}


def test_errors_of_each_corruption(all_sets):
    row = rows_of(all_sets.folder / 'table.json')['in-c']
    metrics = row['metrics']
    errors = {f'error_{name}': 40 if n % 2 else 50 for n, name in enumerate(CORRUPTIONS)}
    assert {name: metrics[name] for name in errors} == pytest.approx(errors)
    assert metrics['top1'] == pytest.approx(100 - sum(errors.values()) / 15)
    assert [metrics[f'error_fog_{n}'] for n in range(1, 6)] == [0, 0, 50, 50, 100]
    assert row['metric'] == 'mce'
    assert row['ours'] == metrics['mce'] > 0
    assert len([name for name in metrics if name.startswith('error_')]) == 90


def test_imagenet_without_its_validation_images_is_not_the_set_of_real(tmp_path):
    real = next(each for each in ROBUSTNESS_SETS if each.key == 'in-real')
    (tmp_path / 'ImageNet' / 'train').mkdir(parents=True)
    assert find_folder(tmp_path, real) is None
    (tmp_path / 'ImageNet' / 'val').mkdir()
    assert find_folder(tmp_path, real) == tmp_path / 'ImageNet'


def test_a_part_of_imagenet_c(robustness, part_of_c, tmp_path):
    run = tmp_path / 'run'
    assert error_of(robustness(run, data=part_of_c)) == (
        f'error: ImageNet-C: {part_of_c}/imagenet-c: missing of ImageNet-C: snow/2, fog; '
        'allow_missing=True evaluates the rest'
    )
    assert not run.exists()
    code, stdout, stderr = robustness(run, '--allow-missing', data=part_of_c)
    assert code == 0, stderr
    row = rows_of(run / 'robustness.json')['in-c']
    assert row['metric'] == 'mean_ce_of_13_corruptions_of_some_images'
    assert row['published'] is None
    assert 'ImageNet-C is not whole: the number is no mCE' in stdout


def test_few_classes_in_every_folder_of_imagenet_c(robustness, data, tmp_path):
    run, lack = tmp_path / 'run', 'gaussian_noise/1 has 1 of 1000 classes and 2 of 50000 images'
    assert error_of(robustness(run)) == (
        f'error: ImageNet-C: {data}/imagenet-c: ImageNet-C is not whole: {lack} '
        '(and 74 more such folders): unpack its archive again, or allow_missing=True evaluates '
        'the rest'
    )
    assert not run.exists()


def test_none_of_the_sets(robustness, tmp_path):
    error = error_of(robustness(tmp_path / 'run', data=tmp_path))
    assert 'none of the sets is here; expected folders such as imagenet-c' in error


def test_weights_that_do_not_fit(robustness, weights, tmp_path):
    state = torch.load(weights, weights_only=True)['state_dict']
    other, run = tmp_path / 'other.pth', tmp_path / 'run'
    encoder = {name: value for name, value in state.items() if not name.startswith('head.')}
    for content, message in (
        (encoder, 'has no head: it was not fine-tuned; fine-tune it first'),
        (
            {**encoder, 'head.fc.weight': torch.ones(10, 192), 'head.fc.bias': torch.ones(10)},
            'has a head of 10 classes; these sets need a classifier of the 1000 of ImageNet-1k',
        ),
    ):
        torch.save({'state_dict': content}, other)
        assert message in error_of(robustness(run, checkpoint=other))
    assert 'is a tiny, not one of huge' in error_of(robustness(run, '--model', 'huge'))
    assert not run.exists()


def test_without_a_config(robustness, tmp_path):
    error = error_of(robustness(tmp_path / 'run', configs=tmp_path))
    assert 'no config evaluates vit-tiny-p16 on ImageNet-C' in error


def test_two_processes_count_as_one(all_sets, configs, data, weights, tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mmengine gathers the samples of all processes in files below it
    config, out = configs / 'vit-tiny-p16_test-8xb128_in-c-32.py', tmp_path / 'two.json'
    root = f'test_dataloader.dataset.source.root={data / "imagenet-c"}'
    part = 'test_dataloader.dataset.source.allow_missing=True'
    words = [config, weights, '--work-dir', tmp_path / 'two', '--out', out]
    words += ['--launcher', 'pytorch', '--cfg-options', root, part]
    assert in_two_processes(lambda: tool('test', *words).code) == [0, 0]
    row = rows_of(all_sets.folder / 'table.json')['in-c']
    names = {'mean_ce_of_some_images': 'mce', 'mean_error_of_some_images': 'mean_error'}
    found = {names.get(name, name): value for name, value in json.loads(out.read_text()).items()}
    assert row['metrics'] == found


def test_shipped_numbers_are_the_papers():
    root = TOOLS.parent / 'configs/robustness'
    published = read_published(root / 'metafile.yml')
    for key, metric in (('in-c', 'mce'), ('in-a', 'top1'), ('in-r', 'top1'), ('in-sketch', 'top1')):
        for arch, size in (
            ('base-p16', ''),
            ('large-p16', ''),
            ('huge-p14', ''),
            ('huge-p14', 448),
        ):
            stem = f'vit-{arch}_test-8xb128_{key}{size and "-448"}'
            assert (root / f'{stem}.py').is_file()
            assert 30 < published[stem, metric] < 80
    assert published['vit-base-p16_test-8xb128_in-a', 'top1'] == 35.9  # not a user's
    assert ('vit-base-p16_test-8xb128_in-c', 'mean_error') not in published  # words


@pytest.mark.parametrize(
    ('arch', 'size'),
    [('vit-base-p16', 224), ('vit-large-p16', 224), ('vit-huge-p14', 224), ('vit-huge-p14', 448)],
)
def test_every_set_has_a_config_for_the_published_weights(arch, size):
    for dataset in ROBUSTNESS_SETS:
        stem = FineTunedModel(Path('x.pth'), arch, size).config(dataset.key)
        source = load_config(stem).test_dataloader.dataset.source
        assert Path(source.root).name == dataset.folders[0]
