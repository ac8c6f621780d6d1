"""Encoders and classifiers as ONNX files, compared with the model in onnxruntime.

Shapes: B images, C channels, H W pixels.
"""

import copy
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from mae.apis.images import short_side
from mae.apis.zoo import require_class_names
from mae.models.layers.tokens import Pool
from mae.utils.errors import CheckpointError
from mae.utils.files import make_folder, require_writable
from mae.utils.text import printable

# What one ONNX file can hold; weights beyond it lie beside it.
MAX_BYTES = 2**31 - 2**24
RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class OnnxReport:
    """What was written.

    Attributes:
        output: name of the output, 'logits' or 'features'.
        files: the ONNX file, and the weights beside it if they are too large for it.
        difference: largest absolute difference of onnxruntime's output from the model's.
    """

    output: str
    files: tuple[Path, ...]
    difference: float


def export_onnx(
    model: Any,
    path: str | Path,
    *,
    pool: Pool | None = None,
    uint8: bool = False,
    classes: Sequence[str] = (),
) -> OnnxReport:
    """Write a model for any number of images, once onnxruntime's output agrees with it.

    The metadata of the file say how an image becomes an input, each value as JSON: `image_size` is
    (H, W); `channels` is their number, and three are RGB; `short_side` is the length in pixels to
    which the shorter side is resized before the centre is cut out; `mean` and `std` of each channel
    are in grey levels, 0 to 255, absent for uint8 inputs. `classes` are the names of the logits, in
    their order.

    Args:
        model: an algorithm, from `get_model`; a segmenter takes images of `encoder.img_size`.
        path: file that ends in `.onnx`; it is written under this name after the comparison.
        pool: 'avg', 'cls' or 'tokens' of the encoder's features; None gives the logits of a
            classifier or (B, N, h, w) of a segmenter, and of another model the average of the patch
            tokens.
        uint8: take uint8 images and normalise them, instead of normalised float32 ones.
        classes: names of the classes, in the order of the logits; empty where they are unknown.

    Raises:
        CheckpointError: onnxruntime's output differs from the model's.
        ImportError: a library is missing; says how to install it.
        OSError: the path is below a file or may not be written, or the disk refused; an older file
            is untouched.
        ValueError: the path is no `.onnx` file or not UTF-8, there is no such pool or no encoder,
            it has windows or relative positions, or there are not as many names as classes.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it, and fails late)
    except ImportError as error:
        raise ImportError(
            f'ONNX needs {error.name}: pip install onnx onnxscript onnxruntime'
        ) from None
    path = Path(path)
    if path.suffix.lower() != '.onnx' or path.is_dir():
        raise ValueError(f'the file to write ends in .onnx, unlike {path}')
    if printable(str(path)) != str(path):
        raise ValueError(f'onnxruntime reads no file whose name is not UTF-8: {path}')
    require_writable(path)
    if pool not in (None, *get_args(Pool)):
        raise ValueError(f'pool is one of {", ".join(get_args(Pool))} or None, not {pool!r}')
    if not hasattr(model, 'encoder'):
        raise ValueError(f'a {type(model).__name__} has no encoder: give a model of get_model')
    _refuse_windows(model.encoder)
    if pool is None and not hasattr(model, 'head'):
        pool = 'avg'
    if classes and pool is None:
        require_class_names(classes, model.num_classes)
    exported = _Exported(_on_cpu(model), pool, uint8=uint8).eval()
    output = 'features' if pool else 'logits'
    program = torch.onnx.export(
        exported,
        (exported.example(2),),
        input_names=['images'],
        output_names=[output],
        dynamic_shapes={'images': {0: torch.export.Dim('batch')}},
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    facts = exported.facts() | ({'classes': list(classes)} if classes and not pool else {})
    program.model.metadata_props.update({name: json.dumps(facts[name]) for name in facts})
    make_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        unfinished = Path(folder, path.name)
        program.save(str(unfinished), external_data=exported.num_bytes() > MAX_BYTES)
        session = onnxruntime.InferenceSession(unfinished, providers=['CPUExecutionProvider'])
        difference = max(_compare(exported, session, batch) for batch in (1, 3))
        parts = sorted(Path(folder).iterdir(), reverse=True)  # what the file refers to comes first
        for part in parts:
            os.replace(part, path.with_name(part.name))
    files = tuple(path.with_name(part.name) for part in reversed(parts))
    return OnnxReport(output, files, difference)


def _refuse_windows(encoder: Any) -> None:
    """Torch's exporter fixes the number of images for windows, and fails on tables of offsets."""
    for block in getattr(encoder, 'blocks', ()):
        if getattr(block, 'rel_pos', None) is not None or getattr(block, 'window_size', None):
            raise ValueError(
                'an encoder with windows or relative positions cannot be exported to ONNX; '
                '`mae zoo convert --as-plain-vit` writes its weights without them'
            )


class _Exported(nn.Module):
    """From images to one output: what a file computes."""

    def __init__(self, model: Any, pool: str | None, *, uint8: bool) -> None:
        super().__init__()
        self.model = model
        self.pool = pool
        self.uint8 = uint8

    def forward(self, images: Tensor) -> Tensor:
        if self.uint8:
            preprocessor = self.model.data_preprocessor
            images = (images.float() - preprocessor.mean) / preprocessor.std
        if self.pool is None:
            logits: Tensor = self.model(images)
            return logits
        features: Tensor = self.model.extract_features(images, self.pool)
        return features

    def example(self, batch: int) -> Tensor:
        """Random images (B, C, H, W), always the same."""
        encoder = self.model.encoder
        shape = batch, encoder.in_channels, *encoder.img_size
        generator = torch.Generator().manual_seed(batch)
        if self.uint8:
            return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        return torch.randn(shape, generator=generator)

    def facts(self) -> dict[str, Any]:
        """How an image becomes an input, see `export_onnx`."""
        encoder, preprocessor = self.model.encoder, self.model.data_preprocessor
        size = tuple(encoder.img_size)
        facts: dict[str, Any] = {
            'input': 'uint8' if self.uint8 else 'float32',
            'channels': encoder.in_channels,
            'image_size': list(size),
        }
        if size[0] == size[1] and not hasattr(self.model, 'taps'):  # a segmenter takes windows
            facts['short_side'] = short_side((size[0], size[1]))
        if not self.uint8:
            facts['mean'] = preprocessor.mean.flatten().tolist()
            facts['std'] = preprocessor.std.flatten().tolist()
        return facts

    def num_bytes(self) -> int:
        """Size of the weights."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters())


def _compare(exported: _Exported, session: Any, batch: int) -> float:
    images = exported.example(batch)
    with torch.no_grad():
        expected = exported(images)
    found = torch.from_numpy(session.run(None, {'images': images.numpy()})[0])
    difference = float((found - expected).abs().max())
    scale = max(1.0, float(expected.abs().max()))  # rounding follows the largest numbers
    if not torch.allclose(found, expected, rtol=RTOL, atol=ATOL * scale):
        raise CheckpointError(
            f'onnxruntime disagrees with the model by up to {difference:.2g} on {batch} images: '
            'nothing was written'
        )
    return difference


def _on_cpu(model: nn.Module) -> nn.Module:
    if all(parameter.device.type == 'cpu' for parameter in model.parameters()):
        return model
    return copy.deepcopy(model).cpu()
