from decimal import Decimal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from mae.evaluation import Accuracy, KNNProbe, knn_scores
from mae.evaluation.accuracy import count_hits
from mae.utils.errors import ConfigError, NonFiniteError


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
    with pytest.raises(ValueError, match=rf'^k must .* 1000 .* not {k}$'):
        knn_scores(**digits, num_classes=10, k=k)


@pytest.mark.parametrize('k', [1, 2, 4])
@pytest.mark.parametrize('temperature', [0.001, 0.07, None])
def test_a_class_without_a_vote_is_no_hit(k, temperature):
    bank, labels = F.normalize(torch.randn(500, 16), dim=1), torch.randint(0, 10, (500,))
    queries, truth = torch.randn(2000, 16), torch.randint(0, 10, (2000,))
    scores = KNNProbe(k, temperature).fit(bank, labels)(queries)
    top1, top5 = count_hits(scores, truth, (1, 5))[:2].tolist()
    voted = (scores.gather(1, truth[:, None]) > 0).sum().item()
    assert 0 < top1 <= top5 == voted  # as many classes as neighbours at most have a vote
    if k == 1:
        assert top1 == top5


@pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('temperature', [1e-6, 1e-3, 0.07, 1e6, 1e12])
def test_ranks_of_extreme_temperatures(dtype, temperature):
    """Ranked as by sums of exponentials with 60 digits and no limit to their size."""
    labels = torch.randint(0, 10, (80,))
    bank, queries = F.normalize(torch.randn(80, 4), dim=1).to(dtype), torch.randn(40, 4).to(dtype)
    scores = knn_scores(queries, bank, labels, num_classes=10, k=12, temperature=temperature)
    assert scores.isfinite().all()
    wide = torch.promote_types(dtype, torch.float32)
    found = (F.normalize(queries.to(wide), dim=1) @ bank.to(wide).T).topk(12, dim=1)
    for row, similarities, neighbours in zip(scores, *map(torch.Tensor.tolist, found), strict=True):
        totals = {}
        for similarity, label in zip(similarities, labels[neighbours].tolist(), strict=True):
            vote = (Decimal(similarity) / Decimal(temperature)).exp()
            totals[label] = totals.get(label, 0) + vote
        expected = sorted(totals, key=totals.get, reverse=True)
        order = row.sort(descending=True)
        assert order.indices[: len(expected)].tolist() == expected
        assert (order.values[: len(expected)].diff() < 0).all()
        assert (order.values[len(expected) :] == 0).all()


def test_equal_votes_are_the_limit_of_high_temperatures(digits):
    """As many votes for two classes: the nearer neighbours win, not the lower number."""
    equal, high = (
        knn_scores(**digits, num_classes=10, k=4, temperature=temperature)
        for temperature in (None, 1e7)
    )
    assert (equal.round().sort(1).values.diff(dim=1)[:, -1] == 0).sum() >= 10  # ties of counts
    assert equal.argmax(1).equal(high.argmax(1))
    assert (equal.sort(1).values.diff(dim=1)[:, -1] > 0).all()


@pytest.mark.parametrize('temperature', [0.07, None])
@pytest.mark.parametrize('chunk_size', [1, 4, 65536])
def test_equally_near_neighbours_share_the_last_places(temperature, chunk_size):
    """Places 3 to 5 are contested by eight images of one similarity, five of them of class 2."""
    turned = torch.eye(3).repeat_interleave(torch.tensor([1, 1, 8]), dim=0)
    labels = torch.tensor([0, 1, 2, 2, 3, 2, 3, 2, 3, 2])
    query = torch.tensor([[3.0, 2.0, 1.0]])
    for order in (torch.arange(10), torch.arange(10).flip(0), torch.randperm(10)):
        scores = knn_scores(
            query,
            turned[order],
            labels[order],
            num_classes=5,
            k=5,
            temperature=temperature,
            chunk_size=chunk_size,
        )
        similarities = F.normalize(query.double())[0]
        vote = torch.ones(3) if temperature is None else (similarities / temperature).exp()
        expected = torch.stack([vote[0], vote[1], 3 * 5 / 8 * vote[2], 3 * 3 / 8 * vote[2]])
        found = scores[0] / scores[0].sum()
        torch.testing.assert_close(
            found[:4], (expected / expected.sum()).double(), rtol=1e-5, atol=0
        )
        assert scores[0, 4] == 0


@pytest.mark.parametrize('temperature', [0.07, None])
@pytest.mark.parametrize('constant', [0.0, 1.0])
def test_features_that_tell_nothing_apart(temperature, constant):
    """All images are equally near: the votes are the classes' shares of the bank, in any order."""
    labels = torch.tensor([0] * 30 + [1] * 50 + [2] * 20)
    probe = KNNProbe(20, temperature).fit(torch.full((100, 4), constant), labels)
    scores = probe(torch.full((6, 4), constant))
    share = scores / scores.sum(1, keepdim=True)
    torch.testing.assert_close(share, torch.tensor([[0.3, 0.5, 0.2]]).double().repeat(6, 1))


@pytest.mark.parametrize('temperature', [0, 0.0, -0.07, float('nan'), float('inf'), True, '0.07'])
def test_impossible_temperatures(digits, temperature):
    message = r'temperature must be a positive [^\n]*None[^\n]*$'
    with pytest.raises(ConfigError, match=f'^{message}'):
        knn_scores(**digits, num_classes=10, temperature=temperature)
    with pytest.raises(ConfigError, match=rf'^KNNProbe\.{message}'):
        KNNProbe(5, temperature)


@pytest.mark.parametrize('temperature', [0.07, None])
def test_queries_that_are_no_numbers(digits, temperature):
    queries, bank, labels = digits.values()
    queries = queries[:20].float()
    queries[3, 5], queries[7, 0], queries[9] = float('nan'), float('inf'), 1e30  # length: infinite
    scores = KNNProbe(10, temperature).fit(bank.float(), labels)(queries)
    assert scores.isnan().any(1).nonzero().flatten().tolist() == [3, 7, 9]
    metric = Accuracy(1)
    metric.process(None, [{'logits': scores, 'labels': labels[:20]}])
    with pytest.raises(NonFiniteError, match=r'^the logits of 3 of 20 samples'):
        metric.evaluate(20)


Q, BANK, LABELS = torch.ones(4, 8), torch.ones(6, 8), torch.zeros(6).long()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(queries=torch.ones(4, 7)), 'queries are 7 wide, .* bank 8'),
        (dict(queries=torch.ones(8)), r'queries must be floats \(B, D\), not float32 \(8,\)'),
        (dict(queries=torch.ones(4, 8).long()), r'floats \(B, D\), not int64 \(4, 8\)'),
        (dict(queries=Q.to('meta')), 'queries lie on meta, .* cpu'),
        (dict(bank=torch.ones(6, 2, 4)), r'floats \(M, D\) .* not float32 \(6, 2, 4\)'),
        (dict(bank=torch.ones(0, 8)), r'at least one image, not float32 \(0, 8\)'),
        (dict(bank_labels=torch.zeros(5).long()), r'the 6 images .* \(6,\) .* not int64 \(5,\)'),
        (dict(bank_labels=torch.zeros(6)), r'not float32 \(6,\)'),
        (
            dict(bank_labels=LABELS.to('meta')),
            'labels .* on meta, .* on cpu',
        ),
        (dict(bank_labels=LABELS + 3), r'must lie in 0\.\.2, not in 3\.\.3'),
        (dict(bank_labels=LABELS - 1), r'must lie in 0\.\.2, not in -1\.\.-1'),
        (dict(queries=[[1.0] * 8]), 'queries must .* list'),
        (dict(bank=BANK.numpy()), 'features of the bank must .* ndarray'),
        (dict(bank_labels=[0] * 6), 'labels of the bank must .* list'),
        (dict(k=1.5), 'k must .* 6 .* not 1.5'),
        (dict(chunk_size=0), 'chunk_size must be at least 1, not 0'),
    ],
)
def test_what_does_not_fit_together(change, message):
    given = dict(queries=Q, bank=BANK, bank_labels=LABELS, num_classes=3, k=2)
    with pytest.raises(ValueError, match=rf'^[^\n]*{message}$'):
        knn_scores(**{**given, **change})


def test_types_are_brought_together():
    scores = knn_scores(Q.half(), BANK.double(), LABELS.int(), num_classes=3, k=2)
    assert scores.tolist() == [[1, 0, 0]] * 4
