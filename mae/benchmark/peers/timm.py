"""timm: its ViT, fine-tuned by our recipe, or as a feature extractor."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from timm.layers import set_fused_attn  # type: ignore[attr-defined]  # it is
from timm.models.vision_transformer import VisionTransformer
from timm.optim import param_groups_layer_decay  # type: ignore[attr-defined]  # it is
from torch import Tensor

from mae.benchmark.inputs import FinetuningInputs, Inputs
from mae.benchmark.peers import Peer, renamed
from mae.benchmark.settings import LEARNING_RATE
from mae.zoo.cost import mlp_ratio

_RULES = (
    (r'^encoder\.', ''),
    (r'^head\.fc_norm\.', 'fc_norm.'),
    (r'^head\.fc\.', 'head.'),
)
_KERNELS = {'sdpa': True, 'eager': False}


def finetune(inputs: FinetuningInputs) -> dict[str, Callable[[], Peer]]:
    """One variant for each attention kernel."""
    return {kind: partial(_tuned, inputs, kind, fused) for kind, fused in _KERNELS.items()}


def evaluate(inputs: Inputs) -> dict[str, Callable[[], '_Extractor']]:
    """One variant for each attention kernel."""
    return {kind: partial(_Extractor, inputs, kind, fused) for kind, fused in _KERNELS.items()}


def _tuned(inputs: FinetuningInputs, kind: str, fused: bool) -> Peer:
    ours = inputs.model
    model = _vit(
        ours.encoder,
        fused,
        num_classes=ours.num_classes,
        global_pool={'avg': 'avg', 'cls': 'token'}[ours.head.pool],
        drop_path_rate=inputs.drop_path_rate,
    )
    model.load_state_dict(renamed(inputs.weights, _RULES), strict=True)
    images, loss = inputs.images, inputs.loss
    labels = inputs.labels.to(images.device)
    groups = param_groups_layer_decay(
        model,
        weight_decay=inputs.weight_decay,
        no_weight_decay_list=model.no_weight_decay(),
        layer_decay=inputs.layer_decay or 1.0,
    )
    for group in groups:  # what timm's schedulers do
        group['lr'] = LEARNING_RATE * group['lr_scale']

    def check() -> Tensor:
        model.eval()  # without drop path, whose draws differ
        found: Tensor = loss(model.forward(images), labels)
        model.train()
        return found

    return Peer(
        inputs.settings,
        model,
        forward=lambda size: loss(model(images[:size]), labels[:size]),
        check=check,
        groups=groups,
        betas=inputs.betas,
        switch=kind,
    )


class _Extractor:
    """Pooled features of a batch."""

    def __init__(self, inputs: Inputs, kind: str, fused: bool) -> None:
        self.switch = kind
        # Ours puts the norm before the average.
        options = {'num_classes': 0, 'global_pool': 'avg', 'fc_norm': False}
        self.model = _vit(inputs.model.encoder, fused, **options)
        encoder = {n: v for n, v in inputs.weights.items() if n.startswith('encoder.')}
        self.model.load_state_dict(renamed(encoder, _RULES), strict=True)
        inputs.settings.prepare(self.model).eval()
        self._inputs = inputs

    def step(self) -> None:
        """The features of the batch."""
        self._features()

    def check(self) -> float:
        """Their mean magnitude."""
        return float(self._features().float().abs().mean())

    @torch.inference_mode()
    def _features(self) -> Tensor:
        with self._inputs.settings.autocast():
            found: Tensor = self.model(self._inputs.images)
        return found


def _vit(encoder: Any, fused: bool, **options: Any) -> VisionTransformer:
    set_fused_attn(enable=fused)
    try:
        return VisionTransformer(
            img_size=encoder.img_size,
            patch_size=encoder.patch_size,
            in_chans=encoder.in_channels,
            embed_dim=encoder.embed_dim,
            depth=encoder.depth,
            num_heads=encoder.blocks[0].attn.num_heads,
            mlp_ratio=mlp_ratio(encoder.blocks[0]),
            class_token=encoder.num_prefix_tokens > 0,
            **options,
        )
    finally:
        set_fused_attn()
