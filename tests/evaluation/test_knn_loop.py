import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from mae.evaluation import Accuracy, KNNLoop
from mae.utils.errors import ConfigError


@pytest.fixture(scope='module')
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def loop(runner, loader, digits, **options):
    images, labels = digits
    bank, test = loader(images[500:], labels[500:]), loader(images[:500], labels[:500], 33)
    return KNNLoop(runner, test, Evaluator(Accuracy((1, 3))), bank, **options)


@pytest.mark.parametrize('k', [1, 10])
def test_equals_sklearn(runner, loader, digits, k):
    runner.model.train()
    metrics = loop(runner, loader, digits, k=k, temperature=1e3).run()  # all but equal votes
    images, labels = digits
    theirs = KNeighborsClassifier(k, metric='cosine').fit(images[500:] + 0.1, labels[500:])
    expected = accuracy_score(labels[:500], theirs.predict(images[:500] + 0.1))
    assert metrics['num_samples'] == 500
    # Ties are broken differently.
    assert metrics['top1'] == pytest.approx(100 * expected, abs=0 if k == 1 else 0.4)
    assert not runner.model.training


def test_hooks_of_a_test_are_called(runner, loader, digits):
    loop(runner, loader, digits).run()
    assert runner.hooks[:2] == ['before_test', 'before_test_epoch']
    assert runner.hooks[-2:] == ['after_test_epoch', 'after_test']
    assert runner.hooks.count('after_test_iter') == 16  # 500 images by 33


@pytest.mark.parametrize('k', [0, 1298])
def test_more_neighbours_than_images(runner, loader, digits, k):
    message = (
        rf'^test_cfg.k={k} must lie between 1 and the 1297 images of test_cfg.bank_dataloader$'
    )
    with pytest.raises(ConfigError, match=message):
        loop(runner, loader, digits, k=k)


def test_images_without_labels(runner, loader, digits):
    images, labels = digits
    with pytest.raises(ConfigError, match=r'^k-NN needs labels: [^\n]*$'):
        loop(runner, loader, (images, torch.full_like(labels, -1))).run()
