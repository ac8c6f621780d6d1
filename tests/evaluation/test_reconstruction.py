import pytest
import torch

from mae.evaluation import ReconstructionLoss


def test_mean_over_images_and_anew_each_time():
    metric, losses = ReconstructionLoss(), torch.rand(23)
    for _ in range(2):
        for part in losses.split(5):  # the last holds three
            metric.process(None, [{'reconstruction_loss': part}])
        found = metric.evaluate(23)
        assert found['reconstruction_error'] == pytest.approx(losses.double().mean().item())
        assert found['num_samples'] == 23
