"""The samples of a loss: torchvision's numbers, chosen by the image's key."""

import pytest
import torch

from mae.models.heads.sampling import KeyedSampler, image_weights


def draw(keys, labels, samples=8, share=0.25, stream=1):
    sampler = KeyedSampler(samples, share, stream)
    sampler.keys = keys
    return sampler([labels] * len(keys))


LABELS = torch.tensor([1.0] * 6 + [0.0] * 30 + [-1.0] * 10)


@pytest.mark.parametrize(
    ('positive', 'negative', 'expected'),
    [(6, 30, (2, 6)), (1, 30, (1, 7)), (0, 30, (0, 8)), (6, 3, (2, 3)), (0, 0, (0, 0))],
)
def test_as_many_as_torchvision_takes(positive, negative, expected):
    labels = torch.tensor([1.0] * positive + [0.0] * negative + [-1.0] * 5)
    keyed = draw(torch.tensor([5]), labels)
    free = KeyedSampler(8, 0.25, 1)([labels])
    for found in (keyed, free):
        (are,), (are_not,) = found
        assert (int(are.sum()), int(are_not.sum())) == expected
        assert (labels[are.bool()] == 1).all()
        assert (labels[are_not.bool()] == 0).all()


def test_a_choice_follows_from_key_and_stream_alone():
    keys = torch.tensor([3, 4, 3])
    are, are_not = draw(keys, LABELS)
    assert torch.equal(are_not[0], are_not[2])
    assert torch.equal(are[0], are[2])
    assert not torch.equal(are_not[0], are_not[1])
    assert not torch.equal(draw(keys, LABELS, stream=2)[1][0], are_not[0])


def test_every_candidate_is_chosen_alike():
    keys = torch.arange(600)
    are, are_not = (torch.stack(flags).double().mean(dim=0) for flags in draw(keys, LABELS))
    assert torch.allclose(are[:6], torch.tensor(2 / 6).double(), atol=0.08)
    assert torch.allclose(are_not[6:36], torch.tensor(6 / 30).double(), atol=0.08)


def test_images_weigh_alike():
    weights = image_weights([2, 0, 3], torch.zeros(1))
    assert torch.allclose(weights, torch.tensor([1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9]))
    assert image_weights([0], torch.zeros(1)).shape == (0,)
