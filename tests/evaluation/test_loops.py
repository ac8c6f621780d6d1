"""Everything that evaluates does so in inference mode, and training goes on undisturbed after."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import LOOPS as ROOT
from mmengine.registry import DefaultScope

from mae.evaluation import Accuracy, KNNHook, KNNLoop, TestLoop, ValLoop


class Linear(torch.nn.Module):
    """A trainable model of two classes that notes in which mode it is asked."""

    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 2).double()
        self.modes = []

    def data_preprocessor(self, batch, training):
        return batch

    def extract_features(self, images, pool):
        self.modes.append(torch.is_inference_mode_enabled())
        return self.fc(images)

    def val_step(self, batch):
        return [{'logits': self.extract_features(batch['inputs'], ''), 'labels': batch['labels']}]

    test_step = val_step


@pytest.fixture
def linear_runner(runner):
    runner.model = Linear()
    runner.visualizer = SimpleNamespace(add_scalars=lambda *args, **options: None)
    runner.logger = SimpleNamespace(info=lambda text: None)
    runner.epoch, runner.iter, runner.max_epochs = 0, 0, 1
    return runner


def evaluate(kind, runner, loader):
    images, labels = torch.randn(30, 4, dtype=torch.float64), torch.arange(30) % 2
    batches = loader(images, labels, 8)
    if kind is KNNHook:
        hook = KNNHook(batches, batches, k=3)
        with DefaultScope.overwrite_default_scope('mae'):
            hook.before_train(runner)
        hook.after_train_epoch(runner)
        return
    options = {'bank_dataloader': batches, 'k': 3} if kind is KNNLoop else {}
    metrics = kind(runner, batches, Evaluator(Accuracy((1,))), **options).run()
    assert metrics['num_samples'] == 30


@pytest.mark.parametrize('kind', [ValLoop, TestLoop, KNNLoop, KNNHook])
def test_in_inference_mode(linear_runner, loader, kind):
    model = linear_runner.model
    evaluate(kind, linear_runner, loader)
    assert model.modes
    assert all(model.modes)
    assert not torch.is_inference_mode_enabled()
    model.fc(torch.randn(3, 4, dtype=torch.float64)).sum().backward()
    assert model.fc.weight.grad is not None


def test_configs_get_ours_by_mmengines_names():
    with (
        DefaultScope.overwrite_default_scope('mae'),
        ROOT.switch_scope_and_registry(None) as registry,
    ):
        assert registry.get('ValLoop') is ValLoop
        assert registry.get('TestLoop') is TestLoop
