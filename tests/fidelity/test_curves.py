"""100 steps of our runner beside another library's model, torch's AdamW and the closed formula.

Both see the same batches and, in pre-training, the same noise to mask by. The other side knows
nothing of our optimizer, groups, schedule or accumulation.
Figures: `pytest tests/fidelity/test_curves.py -rP`.
"""

import pytest
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay

from mae.apis import load_config
from mae.engine.optim import GroupedOptimConstructor
from mae.registry import MODELS
from mae.utils.hashing import key_noise

TOLERANCE = 1e-4
MEAN, STD = 78.0, 96.0
ENCODER = dict(embed_dim=32, depth=2, num_heads=4)
DECODER = dict(embed_dim=32, depth=1, num_heads=4, mlp_ratio=4.0)


class Beside(Hook):
    """Trains another model on the batches of a run, and keeps both losses.

    Args:
        start: their model from ours, as training begins.
        groups: their parameter groups.
        betas: of AdamW.
        loss: of their model on (images, batch).
        rate: learning rate at a step.
    """

    def __init__(self, *, start, groups, betas, loss, rate):
        self.start, self.groups, self.betas = start, groups, betas
        self.loss, self.rate = loss, rate
        self.ours, self.theirs = [], []

    def before_train(self, runner):
        self.model = self.start(runner.model).train()
        self.optimizer = torch.optim.AdamW(self.groups(self.model), lr=0.0, betas=self.betas)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        (batch,) = data_batch
        for group in self.optimizer.param_groups:
            group['lr'] = self.rate(runner.iter) * group.get('lr_scale', 1.0)
        self.optimizer.zero_grad()
        loss = self.loss(self.model, (batch['inputs'].float() - MEAN) / STD, batch)
        loss.backward()
        self.optimizer.step()
        self.theirs.append(loss.item())

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.ours.append(outputs['loss'].item())

    def deviation(self):
        """Largest relative difference of the two curves."""
        assert len(self.ours) == len(self.theirs) == 100
        pairs = zip(self.ours, self.theirs, strict=True)
        return max(abs(a - b) / b for a, b in pairs)


def decayed_by_dimension(model):
    """Two groups: matrices and tokens are decayed, vectors are not."""
    params = [param for param in model.parameters() if param.requires_grad]
    return [
        {'params': [param for param in params if param.ndim > 1], 'weight_decay': 0.05},
        {'params': [param for param in params if param.ndim <= 1], 'weight_decay': 0.0},
    ]


def trained(runner, beside):
    runner.register_hook(beside)
    runner.train()
    print(
        f'100 steps, loss {beside.ours[0]:.4f} -> {beside.ours[-1]:.4f}, '
        f'largest relative deviation {beside.deviation():.1e}'
    )
    return beside


def test_pre_training_is_that_of_transformers(demo, make_runner, parity, rate):
    library = parity('transformers')
    options = {
        'base_lr': 8e-3,
        'model.encoder.arch': ENCODER,
        'model.decoder': DECODER,
        'model.target.norm_pix': True,
        'global_batch_size': 71,  # of 1,437 digits: 20 steps an epoch
        'train_dataloader.batch_size': 71,
        'train_cfg.max_epochs': 5,
        'param_scheduler.warmup_epochs': 1,
    }

    def start(model):
        theirs = library.their_model(model, DECODER, 0.75, True, torch.float32)
        theirs.vit.embeddings.position_embeddings.requires_grad_(False)
        theirs.decoder.decoder_pos_embed.requires_grad_(False)
        return theirs

    beside = trained(
        make_runner(demo['pretrain'], options),
        Beside(
            start=start,
            groups=decayed_by_dimension,
            betas=(0.9, 0.95),
            loss=lambda model, images, batch: (
                model(images, noise=key_noise(batch['keys'], 16)).loss
            ),
            rate=lambda step: rate(step / 20, lr=8e-3 * 71 / 256, warmup=1, epochs=5),
        ),
    )
    assert beside.ours[-1] < 0.8 * beside.ours[0]
    assert beside.deviation() < TOLERANCE


def timms_model(encoder, pool='avg'):
    """timm's ViT for ten digits, of the shape of our encoder."""
    return VisionTransformer(
        img_size=encoder.img_size,
        patch_size=encoder.patch_size,
        in_chans=encoder.in_channels,
        num_classes=10,
        global_pool={'avg': 'avg', 'cls': 'token'}[pool],
        embed_dim=encoder.embed_dim,
        depth=encoder.depth,
        num_heads=encoder.blocks[0].attn.num_heads,
        mlp_ratio=encoder.blocks[0].mlp.fc1.out_features / encoder.embed_dim,
    )


def layer_decayed(model):
    """timm's own groups for layer decay."""
    return param_groups_layer_decay(
        model,
        weight_decay=0.05,
        no_weight_decay_list=model.no_weight_decay(),
        layer_decay=0.75,
    )


def test_fine_tuning_is_that_of_timm(demo, make_runner, parity, rate):
    options = {
        'base_lr': 1e-2,
        'model.encoder.arch': ENCODER,
        'model.encoder.drop_path_rate': 0.0,
        'optim_wrapper.paramwise_cfg.layer_decay': 0.75,
        'train_cfg.max_epochs': 50,  # of two steps
        'param_scheduler.warmup_epochs': 5,
    }
    library = parity('timm')

    def start(model):
        theirs = timms_model(model.encoder)
        state = {library.their_name(name): value for name, value in model.state_dict().items()}
        theirs.load_state_dict(state, strict=True)
        return theirs

    beside = trained(
        make_runner(demo['finetune'], options),
        Beside(
            start=start,
            groups=layer_decayed,
            betas=(0.9, 0.999),
            loss=lambda model, images, batch: F.cross_entropy(
                model(images), batch['labels'], label_smoothing=0.1
            ),
            rate=lambda step: rate(step / 2, lr=1e-2 * 50 / 256, floor=1e-6, warmup=5, epochs=50),
        ),
    )
    assert beside.ours[-1] < 0.8 * beside.ours[0]
    assert beside.deviation() < TOLERANCE


@pytest.mark.parametrize('pool', ['avg', 'cls'])
def test_groups_are_timms_but_for_one_norm(pool, demo, parity):
    """timm counts a norm after the last block to that block, the authors count it to the head."""
    cfg = load_config(
        demo['finetune'],
        {'model.head.pool': pool, 'model.encoder.final_norm': pool == 'cls'}
        | ({'model.head.norm': 'none'} if pool == 'cls' else {}),
    )
    model = MODELS.build(cfg.model)
    wrapper = {**cfg.optim_wrapper, 'optimizer': {**cfg.optim_wrapper.optimizer, 'lr': 1.0}}
    ours = GroupedOptimConstructor(wrapper, cfg.optim_wrapper.paramwise_cfg).group(model)
    theirs = timms_model(model.encoder, pool)
    found, expected = (
        {names[param]: (group['lr_scale'], group['weight_decay']) for group, param in members}
        for names, members in (
            (
                {
                    param: parity('timm').their_name(name)
                    for name, param in model.named_parameters()
                },
                [(group, param) for group in ours for param in group['params']],
            ),
            (
                {param: name for name, param in theirs.named_parameters()},
                [(group, param) for group in layer_decayed(theirs) for param in group['params']],
            ),
        )
    )
    assert set(found) == set(expected)
    different = {name for name in found if found[name] != expected[name]}
    assert different == ({'norm.weight', 'norm.bias'} if pool == 'cls' else set())
    assert all(found[name] == (1.0, 0.0) for name in different)
    assert all(expected[name] == (0.75, 0.0) for name in different)
