"""The counts that the literature states, and PyTorch's own counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mae.apis import load_config
from mae.benchmark.ours import features, finetuning, pretrainer, pretraining
from mae.registry import MODELS
from mae.zoo.cost import (
    block_flops,
    blocks_flops,
    classification_flops,
    encoder_flops,
    pretraining_flops,
    training_flops,
)

FORMAT = 'mae_vit-{}_8xb512-amp-coslr-400e_in1k'


def on_meta(name):
    with torch.device('meta'):
        return MODELS.build(load_config(name).model)


@pytest.mark.parametrize(
    ('size', 'training'), [('base-p16', 58.5), ('large-p16', 124), ('huge-p14', 291)]
)
def test_published_counts(size, training):
    model = on_meta(FORMAT.format(size))
    forward = pretraining_flops(model)
    assert training_flops(forward, model.encoder) / 1e9 == pytest.approx(training, rel=2e-3)


def test_base_forward():
    model = on_meta(FORMAT.format('base-p16'))
    assert pretraining_flops(model) / 1e9 == pytest.approx(19.56, abs=5e-3)
    blocks = blocks_flops(model.decoder.blocks, 197)
    assert blocks / pretraining_flops(model) == pytest.approx(0.54, abs=5e-3)


def test_block():
    assert block_flops(7, 16) == 24 * 7 * 16**2 + 4 * 7**2 * 16


def counted(work):
    # PyTorch counts no attention kernel of the CPU: let it see plain products.
    with (
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
    ):
        work()
    return counter.get_total_flops()


def test_features_are_what_pytorch_counts(make_settings):
    inputs = features(make_settings(batch_size=2))
    ours = counted(lambda: inputs.model.extract_features(inputs.images))
    assert ours == 2 * encoder_flops(inputs.model.encoder)


def test_classifier_is_what_pytorch_counts(make_settings):
    inputs = finetuning(make_settings('vit-mini-p4_ft-1xb128-coslr-40e_digits-16', 2))
    for block in inputs.model.blocks():
        block.drop_path.rate = 0.0  # images that a block leaves out are not computed
    assert counted(lambda: inputs.model(inputs.images)) == 2 * classification_flops(inputs.model)
    loss = counted(
        lambda: inputs.model(inputs.images, inputs.labels, mode='loss')['loss'].backward()
    )
    expected = training_flops(classification_flops(inputs.model), inputs.model.encoder)
    assert loss == 2 * expected


def test_our_step_does_less_than_the_method_asks_for(make_settings):
    inputs = pretraining(make_settings(batch_size=2))
    system = pretrainer(inputs)
    forward = counted(lambda: system.loss(2))
    full = 2 * pretraining_flops(inputs.model)
    assert 0.5 * full < forward < full
