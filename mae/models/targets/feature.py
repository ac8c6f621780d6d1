"""Features of a frozen teacher, as in MaskFeat (Wei et al. 2022, arXiv 2112.09133, section 5).

Shapes: B images, C channels, H W pixels, h w grid, L = h*w patches, M predicted patches, D width of
the teacher.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from mae.models.layers.shapes import check_shape
from mae.models.layers.tokens import take
from mae.models.targets.base import MaskLike, Target
from mae.models.targets.teachers import teacher_of
from mae.registry import MODELS


@MODELS.register_module()
class FeatureTarget(Target):
    """Features of the hidden patches that a frozen model computes from the whole image.

    The teacher's weights come from a file. They are loaded when the first target is computed and
    are in no checkpoint and no optimizer; a run resumes only with the same weights. If the
    teacher's patches are of another size than the encoder's, images are resized so that both grids
    agree.

    Args:
        teacher: name of a model of timm, or path of a folder of transformers.
        checkpoint: weights of a timm model, a file in timm's names.
        pretrained: True has timm download the weights instead, once, into its cache.
        options: further keywords of `timm.create_model`, such as `dynamic_img_size=True`.
        norm: 'layer' gives the features of each patch mean 0 and variance 1 (LayerNorm without
            parameters), 'none' keeps them as they are.
        mean: mean of each channel in the teacher's training, in grey levels; None takes the value
            of the teacher's library.
        std: standard deviation of each channel in grey levels; None as for `mean`.
        patch_size: side in pixels; the model passes this and what follows when it is built.
        in_channels: C.
        img_size: (H, W).
        image_mean: (C, 1, 1), mean of each channel of our images, in grey levels.
        image_std: (C, 1, 1), standard deviation of each channel, in grey levels.

    Raises:
        ValueError: there is no such teacher, its weights have no or two sources, it takes no
            images of such channels or size, or the normalisation of its images is unknown.
    """

    image_scale: Tensor
    image_shift: Tensor

    def __init__(
        self,
        teacher: str,
        checkpoint: str | None = None,
        *,
        pretrained: bool = False,
        options: Mapping[str, Any] | None = None,
        norm: Literal['layer', 'none'] = 'layer',
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        patch_size: int,
        in_channels: int,
        img_size: tuple[int, int],
        image_mean: Tensor,
        image_std: Tensor,
    ) -> None:
        super().__init__()
        if norm not in ('layer', 'none'):
            raise ValueError(f"target.norm must be 'layer' or 'none', not {norm!r}")
        self.teacher = teacher_of(teacher, checkpoint, pretrained, options)
        self.norm = norm
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.target_dim = self.teacher.embed_dim
        self.set_img_size(img_size)
        if in_channels not in (1, self.teacher.in_channels):
            raise ValueError(
                f'the teacher {self.teacher} sees {self.teacher.in_channels} channels, and '
                f'encoder.in_channels is {in_channels}: make them equal, or 1 for grey images'
            )
        scale, shift = self._from_ours(mean, std, image_mean, image_std)
        self.register_buffer('image_scale', scale, persistent=False)
        self.register_buffer('image_shift', shift, persistent=False)

    def set_img_size(self, img_size: tuple[int, int]) -> None:
        """Take images of another size (H, W) from now on.

        Raises:
            ValueError: the teacher does not take images of the size that gives it the same grid.
        """
        self.teacher.check_size(self._input_size(*img_size))

    def forward(self, images: Tensor, patches: Tensor, mask: MaskLike) -> Tensor:
        """Images (B, C, H, W) to the features of the predicted patches (B, M, D).

        Raises:
            ValueError: images of other dimensions, channels or size.
        """
        check_shape('images', images, 'B', self.in_channels, 'H', 'W')
        self.set_img_size((images.shape[-2], images.shape[-1]))
        features = self.teacher(self._input(images))  # B,L,D
        hidden = take(features, mask.ids_predict)  # B,M,D
        hidden = hidden.to(torch.promote_types(images.dtype, torch.float32))
        return F.layer_norm(hidden, hidden.shape[-1:]) if self.norm == 'layer' else hidden

    def fingerprint(self) -> str:
        """SHA-256 of the teacher's weights."""
        return self.teacher.fingerprint()

    def _input(self, images: Tensor) -> Tensor:
        """Images in the normalisation, channels and size of the teacher."""
        x = images * self.image_scale + self.image_shift  # B,C',H,W: grey images get all channels
        size = self._input_size(*images.shape[-2:])
        if size != tuple(images.shape[-2:]):
            x = F.interpolate(x, size, mode='bicubic', antialias=True)
        return x

    def _input_size(self, height: int, width: int) -> tuple[int, int]:
        ours, theirs = self.patch_size, self.teacher.patch_size
        return height // ours * theirs, width // ours * theirs

    def _from_ours(
        self,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        image_mean: Tensor,
        image_std: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Factor and summand (C', 1, 1) from our normalised images to the teacher's."""
        mean, std = mean or self.teacher.mean, std or self.teacher.std
        if mean is None or std is None:
            raise ValueError(
                f'nothing says how images of the teacher {self.teacher} are normalised: give '
                'target.mean and target.std, in grey levels'
            )
        if not len(mean) == len(std) == self.teacher.in_channels or min(std) <= 0:
            raise ValueError(
                'target.mean and target.std need one number for each of the '
                f'{self.teacher.in_channels} channels of the teacher, the deviations positive, '
                f'not {list(mean)} and {list(std)}'
            )
        theirs_mean, theirs_std = (image_mean.new_tensor(v).view(-1, 1, 1) for v in (mean, std))
        return image_std / theirs_std, (image_mean - theirs_mean) / theirs_std
