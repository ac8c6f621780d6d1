"""What evaluation asks of a run, without a run: pixels as features."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import mae.evaluation

assert mae.evaluation


class Pixels(torch.nn.Module):
    """A model whose features are its images."""

    def data_preprocessor(self, batch, training):
        assert not training
        return {**batch, 'inputs': batch['inputs'].double() + 0.1}

    def extract_features(self, images, pool):
        return images.flatten(1)


@pytest.fixture
def loader():
    def build(images, labels, batch_size=50):
        def collate(samples):
            inputs, labels = zip(*samples, strict=True)
            return {'inputs': torch.stack(inputs), 'labels': torch.stack(labels)}

        return DataLoader(TensorDataset(images, labels), batch_size, collate_fn=collate)

    return build


@pytest.fixture
def runner():
    """Notes the names of the hooks called; a loader is built already."""
    hooks = []
    return SimpleNamespace(
        model=Pixels(),
        seed=0,
        hooks=hooks,
        call_hook=lambda name, **options: hooks.append(name),
        build_dataloader=lambda loader, seed: loader,
    )
