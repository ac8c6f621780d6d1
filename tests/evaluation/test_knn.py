import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from mae.evaluation import KNNProbe, knn_scores


@pytest.fixture(scope='module')
def digits():
    """Real features with many near neighbours: 400 queries, 1000 in the bank."""
    pixels, labels = load_digits(return_X_y=True)
    pixels, labels = torch.from_numpy(pixels + 0.1), torch.from_numpy(labels).long()
    return dict(
        queries=pixels[:400], bank=F.normalize(pixels[400:1400]), bank_labels=labels[400:1400]
    )


@pytest.mark.parametrize('k', [1, 10, 25])
def test_equal_votes_are_sklearns(digits, k):
    scores = knn_scores(**digits, num_classes=10, k=k, temperature=None)
    theirs = KNeighborsClassifier(k, metric='cosine', algorithm='brute')
    theirs.fit(digits['bank'], digits['bank_labels'])
    np.testing.assert_allclose(scores / k, theirs.predict_proba(digits['queries']))


def test_weighted_votes_are_sklearns(digits):
    scores = knn_scores(**digits, num_classes=10, k=20, temperature=0.07)
    theirs = KNeighborsClassifier(
        20,
        metric='cosine',
        algorithm='brute',
        weights=lambda distance: np.exp((1 - distance) / 0.07),
    )
    theirs.fit(digits['bank'], digits['bank_labels'])
    share = scores / scores.sum(1, keepdim=True)
    np.testing.assert_allclose(
        share, theirs.predict_proba(digits['queries']), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize('chunk_size', [1, 7, 20, 999, 1000])
def test_chunks_change_nothing(digits, chunk_size):
    few = {**digits, 'queries': digits['queries'][:40]}
    whole = knn_scores(**few, num_classes=10, k=20)
    torch.testing.assert_close(
        knn_scores(**few, num_classes=10, k=20, chunk_size=chunk_size), whole
    )


def test_lengths_of_vectors_do_not_matter(digits):
    queries, bank, labels = digits.values()
    scores = KNNProbe().fit(bank, labels)(queries)
    scaled = bank * torch.rand(1000, 1).double().add(0.5)
    torch.testing.assert_close(KNNProbe().fit(scaled, labels)(queries * 3), scores)
    torch.testing.assert_close(knn_scores(**digits, num_classes=10), scores)


@pytest.mark.parametrize('k', [0, -1, 1001])
def test_impossible_k(digits, k):
    with pytest.raises(ValueError, match=rf'^k must lie between 1 and the 1000 images .* not {k}$'):
        knn_scores(**digits, num_classes=10, k=k)
