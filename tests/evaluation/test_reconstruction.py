import pytest
import torch

from mae.evaluation import ReconstructionLoss
from mae.utils.errors import ConfigError, DataError, NonFiniteError


def test_mean_over_images_and_anew_each_time():
    metric, losses = ReconstructionLoss(), torch.rand(23)
    for _ in range(2):
        for part in losses.split(5):  # the last holds three
            metric.process(None, [{'reconstruction_loss': part}])
        found = metric.evaluate(23)
        assert found['reconstruction_error'] == pytest.approx(losses.double().mean().item())
        assert found['num_samples'] == 23


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_losses_that_are_no_numbers(value):
    metric, losses = ReconstructionLoss(), torch.rand(23)
    losses[[3, 20]] = value
    for part in losses.split(5):
        metric.process(None, [{'reconstruction_loss': part}])
    with pytest.raises(NonFiniteError, match=r'^the reconstruction loss of 2 of 23 images [^\n]*$'):
        metric.evaluate(23)
    metric.process(None, [{'reconstruction_loss': torch.ones(2)}])
    assert metric.evaluate(2) == {'reconstruction_error': 1, 'num_samples': 2}


def test_what_is_no_reconstruction_loss():
    metric = ReconstructionLoss()
    with pytest.raises(ConfigError, match=r'this model gives logits, labels$'):
        metric.process(None, [{'logits': torch.ones(2, 3), 'labels': torch.ones(2)}])
    with pytest.raises(ValueError, match=r'must be \(B,\), not float64 \(\)$'):
        metric.process(None, [{'reconstruction_loss': torch.tensor(1.0)}])
    with pytest.raises(ValueError, match=r'must be a tensor.* list$'):
        metric.process(None, [{'reconstruction_loss': [1.0]}])
    with pytest.raises(DataError, match='nothing to evaluate'):
        metric.evaluate(0)
    metric.process(None, [{'reconstruction_loss': torch.ones(0)}])
    with pytest.raises(DataError, match='nothing to evaluate'):
        metric.evaluate(0)
