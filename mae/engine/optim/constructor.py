"""Parameters in as few groups as there are pairs of learning-rate scale and weight decay."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from mmengine.optim import OptimWrapper
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mae.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

Vectors = Literal['none', 'biases', 'all']
_NORMS = (nn.LayerNorm, nn.GroupNorm, _BatchNorm)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimConstructor:
    """Builds the optimizer with the weight-decay and layer-decay rules of the recipes.

    Parameters of one dimension (biases, norms) are not decayed unless `decay_vectors` says so, and,
    under LARS, not adapted. The rest comes from methods of the model:

    - `no_weight_decay()`: names of further parameters without weight decay;
    - `get_layer_depth(name)`: layer of a parameter and the last layer, for layer decay;
    - `get_lr_scale(name)`, optional: a factor of a parameter's learning rate, besides that of
      layer decay. A grid of learning rates is trained this way.

    Args:
        optim_wrapper_cfg: config of the wrapper, with `optimizer` inside.
        paramwise_cfg: `layer_decay`, the factor from a layer to the one below (None: no decay);
            `decay_tokens`, whether to decay the parameters of `no_weight_decay()` too (the
            authors do in pre-training, not in fine-tuning); `decay_vectors`, which parameters of
            one dimension decay too: 'none', those that are no norm's ('biases', as in detectron2),
            or 'all'; `no_decay`, parts of the names of further parameters that do not decay, such
            as ['rel_pos'].

    Raises:
        ValueError: an unknown key, an unknown kind of vectors, or a name in the place of a list.
    """

    def __init__(
        self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None
    ) -> None:
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))
        options = dict(paramwise_cfg or {})
        self.layer_decay: float | None = options.pop('layer_decay', None)
        self.decay_tokens: bool = options.pop('decay_tokens', True)
        self.decay_vectors: Vectors = options.pop('decay_vectors', 'none')
        self.no_decay: Sequence[str] = options.pop('no_decay', ())
        if options:
            raise ValueError(
                f'optim_wrapper.paramwise_cfg has unknown keys {sorted(options)}; '
                'known are layer_decay, decay_tokens, decay_vectors and no_decay'
            )
        if isinstance(self.no_decay, str):
            raise ValueError(
                'optim_wrapper.paramwise_cfg.no_decay must be a list of parts of names, not '
                f'{self.no_decay!r}'
            )
        if self.decay_vectors not in get_args(Vectors):
            raise ValueError(
                "optim_wrapper.paramwise_cfg.decay_vectors must be 'none', 'biases' or 'all', "
                f'not {self.decay_vectors!r}'
            )

    def __call__(self, model: Any) -> OptimWrapper:
        """Build the optimizer of `model`, wrapped.

        Raises:
            ValueError: the optimizer refuses its config, or no parameter is trainable.
        """
        groups = self.group(getattr(model, 'module', model))
        if self.wrapper_cfg.get('amp') != 'bfloat16' and any(
            getattr(module, 'bf16_residual', False) for module in model.modules()
        ):
            warnings.warn(
                "bf16_residual has no effect without optim_wrapper.amp='bfloat16'", stacklevel=2
            )
        try:
            optimizer = OPTIMIZERS.build({**self.optimizer_cfg, 'params': groups})
        except ValueError as error:  # torch names the value without the config key
            raise ValueError(f'optim_wrapper.optimizer: {error}') from error
        wrapper = {'type': 'OptimWrapper', **self.wrapper_cfg}
        return OPTIM_WRAPPERS.build(wrapper, default_args={'optimizer': optimizer})

    def group(self, model: Any) -> list[dict[str, Any]]:
        """Trainable parameters, merged by (learning-rate scale, weight decay)."""
        lr, decay = self.optimizer_cfg['lr'], self.optimizer_cfg.get('weight_decay', 0.0)
        groups: dict[tuple[float, float, bool], dict[str, Any]] = {}
        exempt: set[str] = set() if self.decay_tokens else model.no_weight_decay()
        exempt = exempt | self._plain_vectors(model) | self._named(model)
        for name, param in model.named_parameters():
            if not param.requires_grad:
                continue
            is_vector = param.ndim <= 1
            weight_decay = 0.0 if name in exempt else decay
            scale = self._lr_scale(model, name)
            group = groups.setdefault(
                (scale, weight_decay, is_vector and self._is_lars),
                {'params': [], 'lr': lr * scale, 'lr_scale': scale, 'weight_decay': weight_decay},
            )
            group['params'].append(param)
            if is_vector and self._is_lars:
                group['lars_exclude'] = True
        if not groups:
            raise ValueError(
                'nothing to train: every parameter of the model is frozen; '
                'unfreeze some, for example with model.trainable_blocks'
            )
        return list(groups.values())

    def _plain_vectors(self, model: Any) -> set[str]:
        """Names of the parameters of one dimension that are not decayed."""
        if self.decay_vectors == 'all':
            return set()
        vectors = {name for name, param in model.named_parameters() if param.ndim <= 1}
        if self.decay_vectors == 'none':
            return vectors
        norms = {name for name, module in model.named_modules() if isinstance(module, _NORMS)}
        return {name for name in vectors if name.rpartition('.')[0] in norms}

    def _named(self, model: Any) -> set[str]:
        """Names of the parameters that `no_decay` exempts."""
        names = (name for name, _ in model.named_parameters())
        return {name for name in names if any(part in name for part in self.no_decay)}

    @property
    def _is_lars(self) -> bool:
        return str(self.optimizer_cfg['type']).endswith('LARS')

    def _lr_scale(self, model: Any, name: str) -> float:
        own = getattr(model, 'get_lr_scale', None)
        scale = 1.0 if own is None else float(own(name))
        if self.layer_decay is None:
            return scale
        layer, last = model.get_layer_depth(name)
        return float(scale * self.layer_decay ** (last - layer))
