"""Models of timm as teachers.

Shapes: B images, C channels, H W pixels, L patches, D width.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mae.fault_tolerance.checkpoint import read_model
from mae.models.targets.teachers.base import Teacher
from mae.utils.grey_levels import GREY_LEVELS, in_grey_levels
from mae.utils.suggest import did_you_mean
from mae.utils.text import first_line


class TimmTeacher(Teacher):
    """A model of timm.

    Args:
        name: a model name of timm's, as in `timm.list_models()`.
        checkpoint: its weights in timm's names, `.safetensors` or a file of `torch.save`.
        pretrained: True has timm download the weights of that name into its cache.
        options: further keywords of `timm.create_model`.

    Raises:
        ValueError: there is no such model, or not exactly one source of weights.
    """

    def __init__(
        self,
        name: str,
        checkpoint: str | None = None,
        *,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        import timm

        super().__init__()
        if not timm.is_model(name):
            raise ValueError(
                f'target.teacher={name!r} is neither a folder of transformers with a config.json '
                f'nor a model of timm{did_you_mean(name, timm.list_models())}'
            )
        if pretrained == (checkpoint is not None):
            raise ValueError(
                f'target.teacher={name!r} needs its weights from one place: target.checkpoint, a '
                'file, or target.pretrained=True to let timm fetch them'
            )
        self.name = name
        self.checkpoint = checkpoint
        self.options = dict(options or {})
        self._model_of_timm = self._create(pretrained=False)
        self.embed_dim = self._model_of_timm.num_features
        self.patch_size = int(self._model_of_timm.feature_info[-1]['reduction'])
        known = self._model_of_timm.pretrained_cfg
        self.in_channels = int(self.options.get('in_chans', known['input_size'][0]))
        if self.in_channels == len(known['mean']):
            levels = in_grey_levels(known['mean'], known['std'], GREY_LEVELS)
            self.mean, self.std = levels['mean'], levels['std']

    def __str__(self) -> str:
        return self.name

    def check_size(self, size: tuple[int, int]) -> None:
        embed: Any = getattr(self._model_of_timm, 'patch_embed', None)
        if getattr(embed, 'strict_img_size', False) and tuple(embed.img_size) != size:
            raise ValueError(
                f'the teacher {self} takes images of {embed.img_size[0]}x{embed.img_size[1]}, and '
                f'this grid needs {size[0]}x{size[1]}: add dynamic_img_size=True to target.options'
            )

    def _load(self) -> nn.Module:
        if self.checkpoint is None:
            return self._fetch()
        model: nn.Module = self._model_of_timm
        weights = _read(Path(self.checkpoint).expanduser())
        classifier = self._model_of_timm.pretrained_cfg.get('classifier') or 'head'
        ends = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        weights = {n: value for n, value in weights.items() if not n.startswith(ends)}
        if wrong := _mismatches(weights, model.state_dict()):
            raise ValueError(
                f'{self.checkpoint} holds no weights of the teacher {self}: '
                f'{"; ".join(wrong[:3])}; `mae zoo convert --to timm` writes such files'
            )
        model.load_state_dict(weights)
        return model

    def _fetch(self) -> nn.Module:
        try:
            model: nn.Module = self._create(pretrained=True)
        except Exception as error:  # no network, no such weights: each library has its own
            raise ValueError(
                f'timm cannot fetch the weights of the teacher {self} ({first_line(error)}): give '
                'a file with target.checkpoint'
            ) from None
        self._model_of_timm = model
        return model

    def _create(self, pretrained: bool) -> Any:
        import timm

        try:
            with torch.random.fork_rng(devices=[]), torch.device('cpu'):
                return timm.create_model(
                    self.name, pretrained=pretrained, num_classes=0, **self.options
                )
        except TypeError as error:  # a keyword that the model does not have
            raise ValueError(f'target.options of the teacher {self}: {error}') from None

    def _features(self, model: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
        features: Tensor = model.forward_features(images)
        if features.ndim == 3:  # B,prefix+L,D
            return features[:, getattr(model, 'num_prefix_tokens', 0) :]
        if getattr(model, 'output_fmt', 'NCHW') == 'NHWC':
            return features.flatten(1, 2)
        return features.flatten(2).transpose(1, 2)


def _mismatches(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Names that are missing or unknown and shapes that differ, in words."""
    wrong = [f'{name} is missing' for name in own if name not in weights]
    wrong += [f'{name} is unknown' for name in weights if name not in own]
    return wrong + [
        f'{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here'
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]


def _read(path: Path) -> dict[str, Tensor]:
    """Weights by name, read as all checkpoints are: as data alone, and screened before."""
    if not path.is_file():
        raise ValueError(f'target.checkpoint: there is no file {path}')
    try:
        weights: dict[str, Tensor] = read_model(path)['state_dict']
    except ValueError as error:
        raise ValueError(f'target.checkpoint: {error}') from None
    return weights
