"""The two watchers of pre-training: the validation loss on fixed masks, and k-NN on the way."""

import shutil
from pathlib import Path

import pytest
import torch

from mae.apis import load_config
from mae.utils.errors import ConfigError

EPOCHS = 3


def digits(split, batch_size, **sampler):
    """A loader as a config states it."""
    return dict(
        batch_size=batch_size,
        num_workers=0,
        sampler=dict(type='ShardSampler', **sampler),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(type='Digits', split=split, img_size=16),
            pipeline=[dict(type='PackInputs')],
        ),
    )


@pytest.fixture(scope='module')
def options(demo):
    """Three epochs of the shipped pre-training, with both watchers."""
    hook = dict(
        type='KNNHook',
        interval=2,
        k=10,
        temperature=0.02,
        dataloader=digits('val', 100),
        bank_dataloader=digits('train', 500),
    )
    return {
        **demo['small'],
        'train_cfg.max_epochs': EPOCHS,
        'param_scheduler.warmup_epochs': 1,
        'default_hooks.checkpoint': dict(type='CheckpointHook', interval=1, max_keep=-1),
        'val_dataloader': digits('val', 100),
        'val_cfg': dict(type='ValLoop'),
        'val_evaluator': dict(type='ReconstructionLoss'),
        'custom_hooks': [hook],
    }


@pytest.fixture(scope='module')
def trained(demo, options, make_runner):
    runner = make_runner(demo['pretrain'], options)
    runner.train()
    return runner


def test_knn_hook_logs_what_the_loop_finds(trained, demo, make_runner, scalars):
    logged = scalars(trained.work_dir, 'knn/top1')
    assert list(logged) == [44, 66]  # of 22 steps an epoch: the second, and the last
    assert len(set(logged.values())) == 2
    for step, top1 in logged.items():
        checkpoint = Path(trained.work_dir) / f'epoch_{step // 22}.pth'
        tested = make_runner(demo['knn'], {**demo['small'], 'load_from': str(checkpoint)})
        assert tested.test()['top1'] == top1


def test_validation_loss_is_a_function_of_the_weights(
    trained, demo, make_runner, scalars, processes, tmp_path
):
    logged = scalars(trained.work_dir, 'reconstruction_error')
    assert list(logged) == [1, 2, 3]
    assert logged[3] < 0.9 * logged[1]

    last = str(Path(trained.work_dir) / f'epoch_{EPOCHS}.pth')

    def test(batch_size, launcher='none', **sampler):
        changes = {
            **demo['small'],
            'load_from': last,
            'launcher': launcher,
            'test_dataloader': digits('val', batch_size, **sampler),
            'test_cfg': dict(type='TestLoop'),
            'test_evaluator': dict(type='ReconstructionLoss'),
        }
        return make_runner(demo['pretrain'], changes, tmp_path).test()

    found = [test(100), test(360), test(7)]
    for number in (2, 3):
        found += processes(number, lambda: test(100, 'pytorch'))
    losses = [metrics['reconstruction_error'] for metrics in found]
    deviation = max(abs(loss / logged[EPOCHS] - 1) for loss in losses)
    print(f'batches of 100, 360 and 7, processes 1, 2 and 3: largest deviation {deviation:.1e}')
    assert deviation < 1e-6
    assert losses[0] == logged[EPOCHS]
    assert {metrics['num_samples'] for metrics in found} == {360}
    assert abs(test(100, seed=1)['reconstruction_error'] / logged[EPOCHS] - 1) > 1e-4  # other masks


def test_resumed_run_validates_alike(trained, demo, options, make_runner, scalars, tmp_path):
    shutil.copy(Path(trained.work_dir) / 'epoch_1.pth', tmp_path)
    (tmp_path / 'last_checkpoint').write_text('epoch_1.pth')
    resumed = make_runner(demo['pretrain'], {**options, 'resume': True}, tmp_path)
    resumed.train()
    for name in ('reconstruction_error', 'knn/top1'):
        whole, rest = scalars(trained.work_dir, name), scalars(resumed.work_dir, name)
        # What ends the epoch of the checkpoint is done again, with the same result.
        assert rest == whole, name


def test_two_processes_train_and_watch_as_one(
    trained, demo, options, make_runner, scalars, processes, tmp_path
):
    options = {**options, 'launcher': 'pytorch', 'train_dataloader.batch_size': 32}

    processes(2, lambda: make_runner(demo['pretrain'], options, tmp_path).train() and None)
    top1, losses = (scalars(tmp_path, name) for name in ('knn/top1', 'reconstruction_error'))
    assert losses == pytest.approx(scalars(trained.work_dir, 'reconstruction_error'), rel=1e-4)
    # One digit of 360 may fall to the other side of a tie.
    assert top1 == pytest.approx(scalars(trained.work_dir, 'knn/top1'), abs=0.3)


def test_watching_changes_nothing(trained, demo, options, make_runner):
    names = ('custom_hooks', 'val_dataloader', 'val_cfg', 'val_evaluator')
    plain = {name: value for name, value in options.items() if name not in names}
    runner = make_runner(demo['pretrain'], plain)
    runner.train()
    weights = runner.model.state_dict()
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'interval': 0}, r'^KNNHook.interval must be at least 1, not 0$'),
        ({'k': 1438}, r'^KNNHook.k=1438 must [^\n]* 1437 [^\n]*$'),
    ],
)
def test_impossible_hooks(change, message, demo, options, make_runner):
    hook = {**options['custom_hooks'][0], **change}
    with pytest.raises(ConfigError, match=message):
        make_runner(demo['pretrain'], {**options, 'custom_hooks': [hook]}).train()


@pytest.mark.parametrize('key', ['dataloader', 'bank_dataloader'])
def test_misspelt_loader_of_the_hook(key, demo, options):
    (hook,) = options['custom_hooks']
    hooks = [{**hook, key: {**hook[key], 'batchsize': 5}}]
    with pytest.raises(ConfigError, match=rf'custom_hooks\.0\.{key}\.batchsize.*batch_size'):
        load_config(demo['pretrain'], {**options, 'custom_hooks': hooks})
