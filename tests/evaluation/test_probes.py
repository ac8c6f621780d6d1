"""Probes on features that are computed once."""

import pytest
import torch
from mmengine.evaluator import Evaluator
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mae.evaluation import Accuracy, KNNLoop, KNNProbe, LinearProbe
from mae.utils.errors import ConfigError, NonFiniteError


@pytest.fixture(scope='module')
def digits():
    images, labels = load_digits(return_X_y=True)
    return torch.from_numpy(images[:600]), torch.from_numpy(labels[:600]).long()


@pytest.mark.parametrize('chunk_size', [77, 1000])
def test_linear_probe_is_scikit_learns_logistic_regression(digits, chunk_size):
    images, labels = digits
    bank, truth, queries = images[:400], labels[:400], images[400:]
    with torch.inference_mode():
        probe = LinearProbe(1e-2, chunk_size=chunk_size).fit(bank.clone(), truth)
        found = probe(queries).softmax(1)
    scaler = StandardScaler().fit(bank)  # a constant pixel: 0 there, 0 / 1e-6 here
    theirs = LogisticRegression(C=1 / (1e-2 * 400), tol=1e-8, max_iter=1000)
    theirs.fit(scaler.transform(bank), truth)
    expected = torch.from_numpy(theirs.predict_proba(scaler.transform(queries)))
    same = (queries[:, bank.std(0) == 0] == bank[0, bank.std(0) == 0]).all(1)
    torch.testing.assert_close(found[same], expected[same], rtol=0, atol=2e-4)
    assert same.sum() > 150


@pytest.mark.parametrize('l2', [1e-4, 1e-2])
def test_penalty_of_the_norm_itself(digits, l2):
    """At the result autograd finds no slope of mean cross entropy + l2 |W|."""
    images, labels = digits[0] / 16, digits[1]
    probe = LinearProbe(l2, squared=False, standardize=False, max_iter=1000)
    score = probe.fit(images, labels, num_classes=12)
    eye = torch.eye(64, dtype=torch.float64)
    bias = score(torch.zeros(1, 64, dtype=torch.float64))[0].requires_grad_()
    weight = (score(eye) - bias).detach().requires_grad_()
    loss = torch.nn.functional.cross_entropy(images @ weight + bias, labels)
    (loss + l2 * weight.norm()).backward()
    assert weight.norm() > 1
    assert weight.shape == (64, 12)
    assert weight.grad.abs().max() < 1e-4 * l2**0.5
    assert loss < 2.3


def test_a_penalty_that_outweighs_the_loss_leaves_the_classes_shares(digits):
    images, labels = digits
    score = LinearProbe(1e3, squared=False, standardize=False).fit(images, labels)
    shares = score(images[:50]).softmax(1)
    expected = labels.bincount() / len(labels)
    torch.testing.assert_close(shares, expected.double().expand_as(shares), atol=1e-5, rtol=0)


def test_names_tell_the_kinds_apart():
    kinds = [dict(), dict(squared=False), dict(standardize=False), dict(l2=1)]
    assert len({LinearProbe(**kind).name for kind in kinds}) == 4


@pytest.mark.parametrize(
    'options',
    [
        dict(l2=-1.0),
        dict(l2=float('nan')),
        dict(l2=1e300),
        dict(l2='1'),
        dict(max_iter=0),
        dict(chunk_size=0.5),
    ],
)
def test_linear_probe_of_impossible_numbers(options):
    with pytest.raises(ValueError, match=r'^LinearProbe needs l2 >= 0, [^\n]*$'):
        LinearProbe(**options)


def loop(runner, loader, digits, probes, **options):
    images, labels = digits
    bank, test = loader(images[:400], labels[:400]), loader(images[400:], labels[400:], 33)
    return KNNLoop(runner, test, Evaluator(Accuracy((1, 3))), bank, probes=probes, **options)


def test_features_are_computed_once_for_all_probes(runner, loader, digits):
    extract, images_seen = runner.model.extract_features, []
    runner.model.extract_features = lambda images, pool: (
        images_seen.append(len(images)) or extract(images, pool)
    )
    probes = [
        dict(type='mae.KNNProbe', k=1, temperature=None),
        dict(type='mae.KNNProbe', k=5),
        dict(type='mae.LinearProbe'),
    ]
    metrics = loop(runner, loader, digits, probes, k=5).run()
    assert sum(images_seen) == 600
    assert metrics['num_samples'] == 200
    assert {name.removesuffix('top1') for name in metrics if name.endswith('top1')} == {
        *('', 'knn_k1_tnone_', 'knn_k5_t0.07_', 'linear_l2_0.0001_')
    }
    assert metrics['knn_k5_t0.07_top1'] == metrics['top1']
    assert metrics['linear_l2_0.0001_top1'] > 80
    alone = loop(runner, loader, digits, (), k=1, temperature=None).run()
    assert metrics['knn_k1_tnone_top1'] == alone['top1']
    assert metrics['knn_k1_tnone_top3'] == alone['top3']


def test_the_same_probe_twice(runner, loader, digits):
    with pytest.raises(ConfigError, match=r'^test_cfg\.probes: two are the same, of linear_l2_0'):
        loop(runner, loader, digits, [dict(type='mae.LinearProbe')] * 2)


def test_more_neighbours_than_images():
    with pytest.raises(ValueError, match=r'^KNNProbe\.k=4 must .* 3 images'):
        KNNProbe(4).fit(torch.randn(3, 2), torch.arange(3))


@pytest.mark.parametrize('k', [0, -1, 2.5, True])
def test_impossible_number_of_neighbours(k):
    with pytest.raises(ConfigError, match=r'^KNNProbe\.k must be a whole number'):
        KNNProbe(k)


PROBES = pytest.mark.parametrize('probe', [KNNProbe(2), LinearProbe()])


@PROBES
@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_a_bank_that_is_no_numbers(probe, value):
    bank = torch.randn(9, 4)
    bank[[2, 5], 1] = value
    with pytest.raises(NonFiniteError, match=r'^the features of 2 of the 9 '):
        probe.fit(bank, torch.arange(9) % 3)


@PROBES
def test_a_bank_too_large_for_its_type(probe):
    with pytest.raises(NonFiniteError, match=r'too large for their type$'):
        probe.fit(torch.full((9, 4), 3e38), torch.arange(9) % 3)


@PROBES
def test_what_does_not_fit_together(probe):
    bank, labels = torch.randn(9, 4), torch.arange(9) % 3
    with pytest.raises(ValueError, match=r'9 images .* not int64 \(8,\)$'):
        probe.fit(bank, labels[:8])
    with pytest.raises(ValueError, match=r'at least one image, not float32 \(0, 4\)$'):
        probe.fit(bank[:0], labels[:0])
    with pytest.raises(ValueError, match=r'^2 of the 9 .*no label$'):
        probe.fit(bank, labels.masked_fill(torch.arange(9) > 6, -1))
    with pytest.raises(ValueError, match=r'^the queries are 5 wide, .* 4$'):
        probe.fit(bank, labels)(torch.randn(2, 5))
