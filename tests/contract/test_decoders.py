"""A decoder: predicts the hidden patches, in the order of their ids."""

import pytest
import torch

P, D = 20, 12
KEEP, HIDE = torch.tensor([[1, 4], [0, 5]]), torch.tensor([[5, 0, 3, 2], [1, 2, 3, 4]])


@pytest.fixture(params=[0, 1], ids=['no-cls', 'cls'])
def model(decoder_type, request):
    facts = dict(encoder_dim=D, target_dim=P, grid_size=(2, 3), num_prefix_tokens=request.param)
    model = decoder_type(8, 2, num_heads=2, **facts)
    for param in model.parameters():
        param.data.fill_(torch.nan)
    model.init_weights()
    return model.double()


def latent_for(model):
    return torch.randn(2, model.num_prefix_tokens + 2, D, dtype=torch.float64)


def test_predicts_every_hidden_patch(model):
    pred = model(latent_for(model), KEEP, HIDE)
    assert pred.shape == (2, 4, P)
    assert pred.isfinite().all()


def test_predictions_follow_their_ids(model):
    latent = latent_for(model)
    order = torch.tensor([2, 0, 3, 1])
    pred = model(latent, KEEP, HIDE)
    torch.testing.assert_close(model(latent, KEEP, HIDE[:, order]), pred[:, order])


def test_places_matter(model):
    latent = latent_for(model)
    assert not torch.allclose(model(latent, KEEP.flip(1), HIDE), model(latent, KEEP, HIDE))
    pred = model(latent, KEEP, HIDE)
    assert not torch.allclose(pred[:, 0], pred[:, 1])


def test_images_do_not_mix(model):
    latent = latent_for(model)
    alone = model(latent[:1], KEEP[:1], HIDE[:1])
    torch.testing.assert_close(alone, model(latent, KEEP, HIDE)[:1])


def test_every_parameter_learns(model):
    model(latent_for(model), KEEP, HIDE).square().sum().backward()
    for name, param in model.named_parameters():
        assert param.requires_grad == (param.grad is not None), name
