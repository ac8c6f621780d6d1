import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.evaluation import Accuracy as TheirAccuracy
from mmpretrain.evaluation import ConfusionMatrix
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from mae.evaluation import Accuracy, KNNHook, KNNLoop
from mae.utils.errors import ConfigError, NonFiniteError


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


@pytest.mark.parametrize('temperature', [0, -1.0])
def test_impossible_temperatures(runner, loader, digits, temperature):
    with pytest.raises(ConfigError, match=r'^test_cfg\.temperature must be a positive number'):
        loop(runner, loader, digits, temperature=temperature)
    batches = loader(*digits)
    with pytest.raises(ConfigError, match=r'^KNNHook\.temperature must be a positive number'):
        KNNHook(batches, batches, temperature=temperature).before_train(runner)


def test_features_that_are_no_numbers(runner, loader, digits):
    images, labels = digits
    broken = images.clone()
    broken[[3, 70, 499]] = float('nan')
    with pytest.raises(NonFiniteError, match=r'^the logits of 3 of 500 samples'):
        loop(runner, loader, (broken, labels)).run()
    broken[500] = float('inf')
    with pytest.raises(NonFiniteError, match=r'^the features of 1 of the 1297 '):
        loop(runner, loader, (broken, labels)).run()


def test_metrics_of_mmpretrain_read_the_votes(runner, loader, digits):
    metrics = [Accuracy((1, 3)), TheirAccuracy((1, 3)), ConfusionMatrix()]
    images, labels = digits
    bank, test = loader(images[500:], labels[500:]), loader(images[:500], labels[:500], 33)
    found = KNNLoop(
        runner, test, Evaluator(metrics), bank, k=5, probes=[dict(type='mae.LinearProbe')]
    ).run()
    for start in ('', 'linear_l2_0.0001_'):
        matrix = found[f'{start}confusion_matrix/result']
        assert matrix.sum() == 500
        assert found[f'{start}top1'] == pytest.approx(matrix.trace().item() / 5)
        for k in (1, 3):  # they count a class without a vote as no hit, too
            theirs = found[f'{start}accuracy/top{k}']
            assert theirs == pytest.approx(found[f'{start}top{k}'], abs=1e-4)
