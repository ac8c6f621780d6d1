"""Frozen models of timm and transformers whose features can be predicted.

Neither is an `nn.Module`, so that their weights are in no checkpoint, optimizer or gradient bucket,
and no `train()` reaches them.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, D width.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mae.utils.suggest import did_you_mean

GREY_LEVELS = 255


class Teacher(ABC):
    """A model that is loaded when it is first asked, and never trained.

    Attributes:
        embed_dim: D.
        patch_size: pixels of its input, a side, for each of its features.
        in_channels: of its input.
        mean: of each channel of its input, in grey levels, or None if nothing says it.
        std: deviation of each, the same.
    """

    embed_dim: int
    patch_size: int
    in_channels: int
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None

    def __init__(self) -> None:
        self._model: nn.Module | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> 'Teacher':
        return self  # frozen: a copy of the model, as an average of weights has, shares it

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Features (B, L, D) of images (B, C, H, W), normalised as the teacher wants them.

        Raises:
            ValueError: its weights cannot be read, or it takes no images of this size.
        """
        grid = images.shape[-2] // self.patch_size, images.shape[-1] // self.patch_size
        if images.is_meta:  # shapes are asked for, not values
            return images.new_empty(len(images), grid[0] * grid[1], self.embed_dim)
        model = self._on(images.device)
        dtype = next(model.parameters()).dtype
        features = self._features(model, images.to(dtype), grid)
        if features.shape[1:] != (grid[0] * grid[1], self.embed_dim):
            raise ValueError(
                f'the teacher {self} gives features {tuple(features.shape[1:])}, not one of width '
                f'{self.embed_dim} for each of {grid[0]}x{grid[1]} patches'
            )
        return features

    def fingerprint(self) -> str:
        """SHA-256 of its weights, by name.

        Raises:
            ValueError: they cannot be read.
        """
        digest = hashlib.sha256()
        for name, value in sorted(self._on(None).state_dict().items()):
            value = value.detach().cpu().contiguous()
            digest.update(f'{name} {value.dtype} {tuple(value.shape)}\n'.encode())
            digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def check_size(self, size: tuple[int, int]) -> None:  # noqa: B027  (most take any)
        """Raises ValueError if it takes no images of `size` (H, W)."""

    @abstractmethod
    def _load(self) -> nn.Module:
        """The model with its weights, on the CPU."""

    @abstractmethod
    def _features(self, model: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, C, H, W) to (B, L, D)."""

    def _on(self, device: torch.device | None) -> nn.Module:
        """The model, loaded at the first call and moved to another device if asked to."""
        if self._model is None:
            # Whatever a library draws for weights that are then loaded is no part of the run.
            with torch.random.fork_rng(devices=[]), torch.device('cpu'):
                # A file in half precision must not decide how targets are rounded.
                self._model = self._load().float().eval().requires_grad_(False)
        if device is not None and next(self._model.parameters()).device != device:
            self._model.to(device)
        return self._model


class TimmTeacher(Teacher):
    """A model of timm.

    Args:
        name: of timm.
        checkpoint: its weights in timm's names, `.safetensors` or a file of `torch.save`.
        pretrained: let timm fetch the weights of that name, into its cache.
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
            self.mean = [GREY_LEVELS * value for value in known['mean']]
            self.std = [GREY_LEVELS * value for value in known['std']]

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
                f'{"; ".join(wrong[:3])}; tools/converters/convert.py --to timm writes such files'
            )
        model.load_state_dict(weights)
        return model

    def _fetch(self) -> nn.Module:
        try:
            model: nn.Module = self._create(pretrained=True)
        except (
            Exception
        ) as error:  # no network, no such weights: each library has errors of its own
            reason = str(error).strip().partition('\n')[0]
            raise ValueError(
                f'timm cannot fetch the weights of the teacher {self} ({reason}): give a file with '
                'target.checkpoint'
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


class TransformersTeacher(Teacher):
    """A model of transformers, from a folder.

    Args:
        folder: with `config.json` and weights; of a model with text, its images' half is taken.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the folder's model is no ViT, or hides patches.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from transformers import AutoConfig
        except ImportError:
            raise ImportError('transformers is not there: pip install transformers') from None
        super().__init__()
        self.folder = folder
        config = self._read(AutoConfig)
        if config.model_type == 'vit_mae':
            raise ValueError(
                f'{folder}: ViTMAE of transformers hides patches by itself; write its encoder with '
                'tools/converters/convert.py --to timm --encoder-only'
            )
        config = getattr(config, 'vision_config', config)
        facts = ('hidden_size', 'patch_size', 'num_channels')
        if not all(isinstance(getattr(config, name, None), int) for name in facts):
            raise ValueError(
                f'{folder}: a {config.model_type} of transformers is no ViT: its config.json lacks '
                f'one of {", ".join(facts)}'
            )
        self.embed_dim = config.hidden_size
        self.patch_size = config.patch_size
        self.in_channels = config.num_channels
        file = folder / 'preprocessor_config.json'
        if file.is_file():
            try:
                known = json.loads(file.read_text(encoding='utf-8'))
            except ValueError as error:
                raise ValueError(f'{file} is no JSON: {error}') from None
            if 'image_mean' in known and 'image_std' in known:
                # As one grey level is before it is rescaled.
                unit = known.get('rescale_factor', 1 / GREY_LEVELS)
                self.mean = [value / unit for value in known['image_mean']]
                self.std = [value / unit for value in known['image_std']]

    def __str__(self) -> str:
        return str(self.folder)

    def _load(self) -> nn.Module:
        from transformers import AutoModel

        model, told = self._read(AutoModel, output_loading_info=True)
        missing = sorted(name for name in told['missing_keys'] if 'pooler' not in name)
        if missing:
            raise ValueError(f'{self.folder} lacks weights of its model: {", ".join(missing[:3])}')
        vision: nn.Module = getattr(model, 'vision_model', model)
        return vision

    def _read(self, kind: Any, **options: bool) -> Any:
        """What transformers makes of the folder; code that comes with it is not run."""
        try:
            return kind.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False, **options
            )
        except Exception as error:  # whatever a damaged folder gives rise to
            reason = str(error).strip().partition('\n')[0]
            raise ValueError(f'{self.folder} cannot be read by transformers: {reason}') from None

    def _features(self, model: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
        size, trained = tuple(images.shape[-2:]), model.config.image_size
        trained = (trained, trained) if isinstance(trained, int) else tuple(trained)
        # Models that always resample their positions do not take the keyword.
        resample = size != trained and model.config.model_type not in _RESAMPLE_BY_THEMSELVES
        keywords = {'interpolate_pos_encoding': True} if resample else {}
        tokens: Tensor = model(pixel_values=images, **keywords).last_hidden_state
        return tokens[:, -grid[0] * grid[1] :]  # what stands before patches: cls, registers


_RESAMPLE_BY_THEMSELVES = ('dinov2', 'dinov2_with_registers', 'dinov3_vit')


def teacher_of(
    name: str, checkpoint: str | None, pretrained: bool, options: Mapping[str, Any] | None
) -> Teacher:
    """The teacher that a config means; see `FeatureTarget`.

    Raises:
        ValueError: there is none, or what only timm understands is given for a folder.
    """
    folder = Path(name).expanduser()
    if not (folder / 'config.json').is_file():
        return TimmTeacher(name, checkpoint, pretrained=pretrained, options=options)
    if checkpoint is not None or pretrained or options:
        raise ValueError(
            f'target.teacher={name!r} is a folder with its own weights: it takes neither '
            'checkpoint, pretrained nor options, which are for models of timm'
        )
    return TransformersTeacher(folder)


def _mismatches(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """What keeps weights from being those of a model, in words."""
    wrong = [f'{name} is missing' for name in own if name not in weights]
    wrong += [f'{name} is unknown' for name in weights if name not in own]
    return wrong + [
        f'{name} is {tuple(weights[name].shape)} there and {tuple(own[name].shape)} here'
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]


def _read(path: Path) -> dict[str, Tensor]:
    """Weights by name, read as data alone."""
    if not path.is_file():
        raise ValueError(f'target.checkpoint: there is no file {path}')
    try:
        if path.suffix == '.safetensors':
            from safetensors.torch import load_file

            return load_file(path)
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # whatever a damaged file gives rise to
        reason = str(error).strip().partition('\n')[0]
        raise ValueError(f'target.checkpoint: {path} cannot be read: {reason}') from None
    for key in ('state_dict', 'model'):
        content = content.get(key, content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise ValueError(f'target.checkpoint: {path} holds no weights by name')
    return dict(content)
