"""Models of transformers as teachers.

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, D width.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mae.models.targets.teachers.base import Teacher
from mae.utils.grey_levels import levels_of_processor
from mae.utils.text import first_line

# Models that always resample their positions and lack the keyword `interpolate_pos_encoding`.
_RESAMPLE_BY_THEMSELVES = ('dinov2', 'dinov2_with_registers', 'dinov3_vit')


class TransformersTeacher(Teacher):
    """A model of transformers, from a folder.

    Args:
        folder: has `config.json` and weights; of an image-text model the image encoder is used.

    Raises:
        ImportError: transformers is not installed.
        ValueError: the folder's model is no ViT or hides patches, or its processor is unreadable.
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
                '`mae zoo convert --to timm --encoder-only`'
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
        self.mean, self.std = self._levels()

    def __str__(self) -> str:
        return str(self.folder)

    def _load(self) -> nn.Module:
        from transformers import AutoModel

        model, info = self._read(AutoModel, output_loading_info=True)
        missing = sorted(name for name in info['missing_keys'] if 'pooler' not in name)
        if missing:
            raise ValueError(f'{self.folder} lacks weights of its model: {", ".join(missing[:3])}')
        vision: nn.Module = getattr(model, 'vision_model', model)
        return vision

    def _read(self, kind: Any, **options: bool) -> Any:
        """Read the folder with a class of transformers; code in the folder is not run."""
        try:
            return kind.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False, **options
            )
        except Exception as error:  # whatever a damaged folder gives rise to
            reason = first_line(error)
            raise ValueError(f'{self.folder} cannot be read by transformers: {reason}') from None

    def _features(self, model: Any, images: Tensor, grid: tuple[int, int]) -> Tensor:
        size, trained = tuple(images.shape[-2:]), model.config.image_size
        trained = (trained, trained) if isinstance(trained, int) else tuple(trained)
        resample = size != trained and model.config.model_type not in _RESAMPLE_BY_THEMSELVES
        keywords = {'interpolate_pos_encoding': True} if resample else {}
        tokens: Tensor = model(pixel_values=images, **keywords).last_hidden_state
        return tokens[:, -grid[0] * grid[1] :]  # without cls token and registers, which come first

    def _levels(self) -> tuple[Sequence[float] | None, Sequence[float] | None]:
        """Mean and deviation of each channel of its images, in grey levels; None if unknown."""
        file = self.folder / 'preprocessor_config.json'
        if not file.is_file():
            return None, None
        try:
            levels = levels_of_processor(json.loads(file.read_text(encoding='utf-8')))
        except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
            raise ValueError(f'{file} says nothing of use: {first_line(error)}') from None
        for name, values in levels.items():  # one number holds for all channels
            levels[name] = values * self.in_channels if len(values) == 1 else values
        return levels.get('mean'), levels.get('std')
