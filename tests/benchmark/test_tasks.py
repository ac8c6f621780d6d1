"""The whole tool on models that take milliseconds: who takes part, what is reported."""

import importlib.util
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from mae.benchmark import PEERS, compare, evaluate, loader, memory, ours, runner
from mae.benchmark.inputs import write_photos
from mae.benchmark.memory import static_bytes
from mae.benchmark.ours import finetuner, finetuning, pretrainer, pretraining

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / 'docs' / 'en' / 'notes' / 'benchmarks'
FINETUNE = 'vit-mini-p4_ft-1xb128-coslr-40e_digits-16'
KNN = 'vit-mini-p4_knn-1xb360_digits-16'
TINY = ['model.encoder.arch.embed_dim=16', 'model.decoder.embed_dim=16']
TINY += ['model.encoder.arch.depth=1']


@pytest.fixture
def tool(tmp_path):
    spec = importlib.util.spec_from_file_location('benchmark_tool', ROOT / 'tools/benchmark.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*arguments):
        out = tmp_path / 'report.json'
        module.main([*arguments, '--json', str(out)])
        return json.loads(out.read_text())

    call.parse_args = module.parse_args
    return call


@pytest.mark.parametrize('file', sorted(PUBLISHED.glob('*.json')), ids=lambda file: file.stem)
def test_the_command_of_a_published_figure_is_still_one(tool, file):
    words = shlex.split(json.loads(file.read_text())['command'])
    assert words[:2] == ['python', 'tools/benchmark.py']
    tool.parse_args(words[2:])


def test_step_of_every_peer_that_is_here(forked_workers, make_settings):
    peers = [name for name in PEERS['step'] if importlib.util.find_spec(name)]
    peers = [name for name in peers if name != 'stable_pretraining']  # it has its own test
    report = compare.run(make_settings(), peers, task='step', rounds=1, steps=1)
    assert set(report['systems']) == {'mae', *peers}
    assert report['skipped'] == {}
    losses = {name: system['loss'] for name, system in report['systems'].items()}
    assert losses == pytest.approx(dict.fromkeys(losses, losses['mae']), rel=1e-5)
    assert report['agree'] == dict.fromkeys(peers, True)
    for system in report['systems'].values():
        assert system['share_of_peak'] == pytest.approx(
            system['tflops'] / report['matmul_peak']['tflops']
        )
        rate = report['gflop_per_image'] * system['images_per_second'] / 1e3
        assert system['tflops'] == pytest.approx(rate)
        assert system['peak_memory_bytes'] > 4 * system['activation_bytes_per_image'] > 0


@pytest.mark.skipif(importlib.util.find_spec('stable_pretraining') is None, reason='not installed')
@pytest.mark.parametrize('with_cls_token', [False, True])
def test_step_of_stable_pretraining(forked_workers, make_settings, with_cls_token):
    """Its decoder gets no cls token, which the report says."""
    settings = make_settings(changes={'model.encoder.with_cls_token': with_cls_token})
    report = compare.run(settings, ['stable_pretraining'], task='step', rounds=1, steps=1)
    assert report['skipped'] == {}
    ours, theirs = (report['systems'][name]['loss'] for name in ('mae', 'stable_pretraining'))
    assert theirs == pytest.approx(ours, rel=0.05 if with_cls_token else 1e-5)
    assert report['agree'] == {'stable_pretraining': not with_cls_token}


def test_impossible_batch_says_what_it_needs(make_settings, monkeypatch):
    settings = make_settings(batch_size=10**6)
    monkeypatch.setattr(
        compare, 'start_systems', lambda *args, **kwargs: pytest.fail('systems were started')
    )
    small = pretraining_of_at_most(2)
    monkeypatch.setitem(compare.TASKS, 'step', (small, pretrainer))
    with pytest.raises(ValueError, match=r'^a batch of 1000000 .* [\d,.]+ GiB '):
        compare.run(settings, ['transformers'], task='step')
    assert small.seen == [2]  # nothing of that size was allocated


@pytest.mark.parametrize(
    ('batch', 'bank', 'said'),
    [
        (10**9, 40, r'^a batch of 1000000000 needs about [\d,.]+ GiB .*--batch \d+ would fit$'),
        (4, 10**12, r'^a bank of 1,000,000,000,000 images .*--bank$'),
    ],
)
def test_features_of_a_batch_that_does_not_fit(make_settings, monkeypatch, batch, bank, said):
    monkeypatch.setattr(
        evaluate, 'start_systems', lambda *args, **kwargs: pytest.fail('it was started')
    )
    with pytest.raises(ValueError, match=said):
        evaluate.run(make_settings(batch_size=batch), [], bank=bank)


def pretraining_of_at_most(number):
    def checked(settings):
        checked.seen.append(settings.batch_size)
        assert settings.batch_size <= number
        return pretraining(settings)

    checked.seen = []
    return checked


def test_systems_that_do_not_fit_at_all(make_settings, monkeypatch):
    settings = make_settings()
    free = 2 * static_bytes(pretraining(settings).model)
    monkeypatch.setattr(memory, 'available_memory', lambda device: free)
    with pytest.raises(ValueError, match=r'3 systems with weights.* fewer --peers'):
        compare.run(settings, ['transformers', 'lightly'], task='step')


def test_step_needs_a_pre_training(make_settings):
    with pytest.raises(ValueError, match=f'--config {FINETUNE}: .* Classifier, '):
        compare.run(make_settings(FINETUNE), [], task='step')


@pytest.mark.parametrize('run', [loader.run, runner.run])
def test_config_without_training(make_settings, run):
    with pytest.raises(ValueError, match=f'--config {KNN} describes no training'):
        run(make_settings(KNN), [])


def test_finetune_beside_timm(forked_workers, make_settings):
    report = compare.run(make_settings(FINETUNE), ['timm'], task='finetune', rounds=1, steps=1)
    ours, theirs = report['systems']['mae'], report['systems']['timm']
    assert ours['loss'] == pytest.approx(theirs['loss'], rel=1e-5)
    assert abs(ours['loss'] - torch.tensor(10.0).log()) > 1e-3  # the head tells images apart


def test_finetune_refuses_a_frozen_encoder(make_settings):
    with pytest.raises(ValueError, match=r'model\.trainable_blocks=1 freezes a part'):
        compare.run(
            make_settings(FINETUNE, changes={'model.trainable_blocks': 1}), [], task='finetune'
        )


def test_timm_gets_the_learning_rates_of_layer_decay(make_settings):
    from mae.benchmark.peers import timm

    settings = make_settings(FINETUNE, changes={'optim_wrapper.paramwise_cfg.layer_decay': 0.5})
    inputs = finetuning(settings)
    ours = rates(finetuner(inputs)._wrapper.optimizer)
    theirs = rates(timm.finetune(inputs)['sdpa']()._optimizer)
    assert ours == theirs


def rates(optimizer):
    """Number of values trained at each (learning rate, weight decay)."""
    found = {}
    for group in optimizer.param_groups:
        key = (round(group['lr'], 12), group['weight_decay'])
        found[key] = found.get(key, 0) + sum(p.numel() for p in group['params'])
    return found


def test_evaluate_beside_timm(forked_workers, make_settings):
    report = evaluate.run(make_settings(), ['timm'], rounds=1, steps=1, bank=40)
    ours, theirs = report['systems']['mae'], report['systems']['timm']
    assert ours['check'] == pytest.approx(theirs['check'], rel=1e-5)
    assert set(report['knn']['queries_per_second']) == {'mae', 'scikit-learn'}


def test_loader(tool, tmp_path):
    write_photos(tmp_path, 8)
    options = '--rounds', '1', '--steps', '3', '--batch', '4', '--workers', '0', '--cpu-time'
    report = tool('loader', *options, '--data', str(tmp_path))
    theirs = {f'{peer}{place}' for peer in PEERS['loader'] for place in ('', ' at packed')}
    assert set(report['systems']) == {'mae', 'mae at packed', 'mae at pixels', *theirs}
    assert set(report['ratio']) == theirs
    assert report['skipped'] == {}
    assert report['batches_per_round'] == 4  # the images are read twice, as a whole
    sizes = report['bytes_per_image']
    assert sizes['packed'] < sizes['files'] < sizes['pixels'] == 256 * 341 * 3 + 128


def test_photographs(tmp_path):
    write_photos(tmp_path, 12)
    paths = sorted((tmp_path / 'photos').iterdir())
    assert len({path.read_bytes() for path in paths}) == 12
    for path in paths:
        with Image.open(path) as image:
            assert (image.format, image.mode, image.size) == ('JPEG', 'RGB', (500, 375))


def test_runner_at_two_places(tool):
    options = '--rounds', '2', '--steps', '4', '--at', '5', '30'
    report = tool('runner', *options, '--cfg-options', *TINY)
    names = {'mae', 'mmengine', 'mae at 30', 'mmengine at 30'}
    assert set(report['systems']) == names
    for system in report['systems'].values():
        assert len(system['rounds']) == len(system['bare_rounds']) == 2
        low, high = system['idle_overhead_quartiles']
        assert low <= system['idle_overhead_milliseconds'] <= high
    assert report['at'] == [5, 30]
    assert '--at 5 30' in report['command']


def test_help_needs_no_imports():
    code = (
        'import runpy, sys\n'
        "sys.argv = ['benchmark.py', 'step', '--help']\n"
        "try: runpy.run_path(TOOL, run_name='__main__')\n"
        'except SystemExit as end: assert not end.code\n'
        "assert not {'torch', 'mmengine', 'rich'} & set(sys.modules)"
    ).replace('TOOL', repr(str(ROOT / 'tools/benchmark.py')))
    command = [sys.executable, '-c', code]
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    result = subprocess.run(command, env=env, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert '--compile' in result.stdout


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['sleep'],
        ['step', '--batch', '0'],
        ['step', '--peers', 'timm'],
        ['runner', '--dtype'],
        ['runner', '--at', '-5'],
        ['gpu', '--minutes', 'nan'],
        ['gpu', '--minutes', 'inf'],
    ],
)
def test_malformed_command_line(tool, arguments):
    with pytest.raises(SystemExit) as error:
        tool.parse_args(arguments)
    assert error.value.code == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_a_gpu_that_is_not_there(tool):
    with pytest.raises(ValueError, match=r"^no device 'cuda': torch sees 0 GPUs here"):
        tool('step', '--device', 'cuda', '--peers')


def test_a_report_that_could_not_be_written_is_not_measured(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(compare, 'run', lambda *args, **kwargs: pytest.fail('it was measured'))
    (tmp_path / 'report.json').mkdir()
    with pytest.raises(ValueError, match=r'report\.json is a folder; '):
        tool('step')


def test_seconds_of_the_processor_are_none_of_a_gpu(tool):
    with pytest.raises(ValueError, match='--cpu-time does not see what a GPU does'):
        tool('step', '--device', 'cuda', '--cpu-time', '--peers')


def test_ours_is_compiled_as_the_config_switch_does_it(make_settings, monkeypatch):
    seen = []
    monkeypatch.setattr(ours, 'compile_blocks', lambda blocks, on: seen.append((len(blocks), on)))
    settings = replace(make_settings(), compile=True)
    ours.pretrainer(pretraining(settings))
    assert seen == [(5, True)]  # two blocks of the encoder, one of the decoder, target and loss


def test_only_images_are_on_the_device(make_settings):
    """Labels, ids and keys lie on the host, where those of a run lie and are checked.

    Without memory for anything: a device that is not the CPU is all that counts here.
    """
    inputs = pretraining(replace(make_settings(), device=torch.device('meta')))
    assert inputs.keys.device.type == 'cpu'
    assert inputs.raw.device.type == inputs.noise.device.type == 'meta'
    tuned = finetuning(replace(make_settings(FINETUNE), device=torch.device('meta')))
    assert tuned.labels.device.type == 'cpu'
    assert tuned.raw.device.type == 'meta'
