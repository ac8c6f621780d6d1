"""`--load-from` and tools/test.py take every format; tools/converters/publish_model.py."""

from importlib.util import module_from_spec, spec_from_file_location

import pytest
import torch
import yaml

from mae.apis import convert, get_model, init_model, load_config
from mae.zoo.cost import measure_cost
from mae.zoo.formats import load_weights
from mae.zoo.index import read_index

FACTS = dict(num_heads=2, decoder_num_heads=4)


@pytest.mark.parametrize('to', ['timm', 'transformers', 'mmpretrain'])
def test_fine_tuning_starts_from_any_format(to, train, checkpoint, tmp_path, work_dir):
    source = checkpoint()
    start = tmp_path / ('start' if to == 'transformers' else 'start.pth')
    convert(source, start, to, facts=FACTS)
    result = train(base='ft', arguments=['--load-from', start])
    assert result.code == 0, result.stderr
    (log,) = work_dir.glob('*/*.log')
    (line,) = (line for line in log.read_text().splitlines() if 'weights loaded' in line)
    assert 'start fresh (head)' in line
    assert f'from {"timm" if to == "timm" else to}' in line


def test_testing_a_classifier_of_another_format(tool, checkpoint, write_config, tmp_path):
    source = checkpoint('ft')
    convert(source, tmp_path / 'start.safetensors', 'mmpretrain')
    metrics = []
    for path in (source, tmp_path / 'start.safetensors'):
        out = tmp_path / f'{path.stem}.json'
        result = tool('test', write_config(base='ft'), path, '--out', out,
                      '--work-dir', tmp_path / path.stem)  # fmt: skip
        assert result.code == 0, result.stderr
        metrics.append(out.read_text())
    assert metrics[0] == metrics[1]


def test_fine_tuning_takes_the_rows_of_the_head_by_the_names_of_the_classes(
    train, checkpoint, images, tmp_path, work_dir
):
    start = torch.load(checkpoint('ft'))
    names = ['class1', *'abcdefgh', 'class0']
    torch.save({**start, 'meta': {'classes': names}}, tmp_path / 'start.pth')
    text = f'{images[1]}val_dataloader = val_cfg = val_evaluator = None\n'
    arguments = ['--load-from', tmp_path / 'start.pth']
    result = train('model.head.num_classes=2', base='ft', text=text, arguments=arguments)
    assert result.code == 0, result.stderr
    (log,) = work_dir.glob('*/*.log')
    assert 'head: 2 classes taken by name, 0 of 2 ' in log.read_text()


def _publish(request):
    tool = request.config.rootpath / 'tools/converters/publish_model.py'
    spec = spec_from_file_location('tool_publish', tool)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('suffix', ['.safetensors', '.pth'])
def test_publish(suffix, train, work_dir, write_config, tmp_path, capsys, request):
    assert train().code == 0
    (source,) = work_dir.glob('*.pth')
    module = _publish(request)
    (tmp_path / 'metrics.json').write_text('{"accuracy/top1": 12.5}')
    out = tmp_path / 'out'
    arguments = [source, '--name', 'mini', '--license', 'Apache-2.0', '--out-dir', out]
    config = write_config()
    arguments += ['--metrics', tmp_path / 'metrics.json', '--config', config]
    arguments += ['--source', 'the tests', '--suffix', suffix]
    module.main([str(argument) for argument in arguments])
    (weights,) = out.glob(f'mini-????????{suffix}')
    assert len(list(out.iterdir())) == 3
    assert weights.stat().st_size < source.stat().st_size / 2  # the optimizer is gone
    found = load_weights(weights)
    assert any('verified by the manifest' in note for note in found['notes'])
    before = torch.load(source, weights_only=True)['state_dict']
    assert all(torch.equal(found['state_dict'][name], before[name]) for name in before)
    assert found['facts']['num_heads'] == 2
    init_model(load_config(config), weights)

    (entry,) = yaml.safe_load(weights.with_suffix('.yml').read_text())['Models']
    assert entry['Name'] == weights.stem
    digest = entry['Metadata']['Checksum'].removeprefix('sha256:')
    assert len(digest) == 64
    assert weights.stem.endswith(digest[:8])
    assert entry['Metadata']['Parameters'] == sum(value.numel() for value in before.values())
    (out / 'index.yml').write_text(f'Import: [{weights.with_suffix(".yml").name}]')
    (listed,) = read_index(out / 'index.yml')  # as it is, all that an index asks for
    (out / 'index.yml').unlink()
    assert (listed.config, listed.source, listed.holds) == (config, 'the tests', 'all')
    model = init_model(config, weights)
    assert listed.parameters == sum(value.numel() for value in model.parameters())
    with torch.device('meta'):
        assert listed.flops == measure_cost(get_model(config, device='meta')).flops
    card = weights.with_suffix('.md').read_text()
    assert '| accuracy/top1 | 12.5 |' in card
    assert f"init_model('{config}', '{weights.name}')" in card
    with pytest.raises(ValueError, match='exists; remove it'):
        module.main([str(argument) for argument in arguments])
    assert len(list(out.iterdir())) == 3


@pytest.mark.parametrize(
    ('base', 'options', 'message'),
    [
        ('ft', ['--config', 'CONFIG'], 'has no head: it was not fine-tuned'),
        ('mae', ['--config', 'no-such-config'], 'no such config: no-such-config'),
        ('mae', ['--metrics', 'list.json'], 'list.json holds a list'),
        ('mae', ['--metrics', 'cut.json'], 'cut.json is not readable JSON'),
        ('mae', ['--metrics', 'words.json'], 'number, which top1 is not'),
        ('mae', ['--name', 'a/b'], 'a name without folders'),
    ],
)
def test_what_is_not_published(base, options, message, checkpoint, write_config, tmp_path, request):
    module = _publish(request)
    for name, text in (('list', '[1]'), ('cut', '{'), ('words', '{"top1": "good"}')):
        (tmp_path / f'{name}.json').write_text(text)
    known = {'CONFIG': write_config(base=base)}
    known |= {f'{name}.json': tmp_path / f'{name}.json' for name in ('list', 'cut', 'words')}
    arguments = [checkpoint(), '--name', 'mini', '--license', 'MIT', '--out-dir', tmp_path / 'out']
    arguments += [known.get(option, option) for option in options]
    with pytest.raises(ValueError, match=message):
        module.main([str(argument) for argument in arguments])
    assert not (tmp_path / 'out').exists()
