"""k-NN judges an encoder, whatever else a checkpoint holds; other tests need every weight."""

import pytest
import torch

from mae.utils.errors import CheckpointError


@pytest.fixture
def encoder_only(make_runner, tmp_path):
    """Weights of an encoder without its decoder, as the authors publish them."""
    model = make_runner('weights').model
    model.init_weights()
    weights = {k: v for k, v in model.state_dict().items() if k.startswith('encoder.')}
    path = tmp_path / 'encoder.pth'
    torch.save({'model': weights}, path)
    return path


def evaluation(test_cfg, evaluator):
    loader = dict(
        batch_size=50,
        num_workers=0,
        sampler=dict(type='ShardSampler'),
        collate_fn=dict(type='collate'),
        dataset=dict(
            type='SeededDataset',
            source=dict(type='Digits', split='val', img_size=8),
            pipeline=[dict(type='PackInputs')],
        ),
    )
    if test_cfg['type'] == 'KNNLoop':
        test_cfg = dict(test_cfg, bank_dataloader=loader)
    return {'test_dataloader': loader, 'test_cfg': test_cfg, 'test_evaluator': evaluator}


def test_knn_needs_the_encoder_alone(make_runner, encoder_only):
    changes = evaluation(dict(type='KNNLoop', k=1), dict(type='Accuracy', topk=(1,)))
    runner = make_runner('knn', {**changes, 'load_from': str(encoder_only)})
    assert runner.test()['top1'] == 100  # the bank is the test set


def test_reconstruction_needs_the_decoder_too(make_runner, encoder_only):
    changes = evaluation(dict(type='TestLoop'), dict(type='ReconstructionLoss'))
    runner = make_runner('test', {**changes, 'load_from': str(encoder_only)})
    with pytest.raises(CheckpointError, match=r'does not fit .*: decoder\.[^\n]* is missing'):
        runner.test()
