"""The architecture of weights in our names, and whether any weight is missing.

Shapes: D width, d decoder width, F hidden width of an MLP, T values predicted of a patch, C
channels, p side of a patch, N positions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mae.utils.errors import CheckpointError
from mae.utils.text import counted
from mae.utils.vit_sizes import ARCHS, arch_name

Shape = tuple[int, ...]

_USUAL_DECODER_HEADS = {512: 16}


@dataclass(frozen=True)
class Stack:
    """Blocks of one width: `dim`, `depth` and the `hidden_dim` of their MLPs."""

    dim: int
    depth: int
    hidden_dim: int

    @property
    def mlp_ratio(self) -> float:
        return self.hidden_dim / self.dim


@dataclass(frozen=True)
class Architecture:
    """All of a model that follows from the shapes of its weights; the number of heads does not."""

    encoder: Stack
    patch_size: int
    in_channels: int
    num_patches: int
    num_prefix_tokens: int
    final_norm: bool
    decoder: Stack | None
    target_dim: int
    head: str | None
    num_classes: int

    def __str__(self) -> str:
        name = arch_name(self.encoder.dim, self.encoder.depth)
        words = [f'ViT-{name}' if name else 'ViT']
        words[0] += (
            f'/{self.patch_size} ({self.encoder.dim} wide, {counted(self.encoder.depth, "block")})'
        )
        if self.in_channels != 3:
            words.append(counted(self.in_channels, 'channel'))
        words.append(counted(self.num_patches, 'patch', 'patches'))
        if self.decoder:
            depth = counted(self.decoder.depth, 'block')
            words.append(f'decoder {self.decoder.dim} wide, {depth}')
        if not self.predicts_pixels:
            words.append(f'{self.target_dim} values predicted of a patch')
        if self.num_classes:
            words.append(counted(self.num_classes, 'class', 'classes'))
        return ', '.join(words)

    @property
    def predicts_pixels(self) -> bool:
        """Whether a decoder predicts as many values as a patch has; True without one."""
        return self.target_dim == self.patch_size**2 * self.in_channels

    @property
    def usual_heads(self) -> int | None:
        """Heads of the encoder of this width and depth in the papers."""
        name = arch_name(self.encoder.dim, self.encoder.depth)
        return ARCHS[name]['num_heads'] if name else None

    @property
    def usual_decoder_heads(self) -> int | None:
        """Heads of the decoder of this width in the paper."""
        return _USUAL_DECODER_HEADS.get(self.decoder.dim) if self.decoder else None

    def shapes(self) -> dict[str, Shape]:
        """Every tensor of such a model by our name."""
        D, p, C = self.encoder.dim, self.patch_size, self.in_channels
        N = self.num_patches + self.num_prefix_tokens
        shapes: dict[str, Shape] = (
            {'encoder.cls_token': (1, 1, D)} if self.num_prefix_tokens else {}
        )
        shapes |= {
            'encoder.pos_embed': (1, N, D),
            'encoder.patch_embed.proj.weight': (D, C, p, p),
            'encoder.patch_embed.proj.bias': (D,),
            **_blocks('encoder', self.encoder),
        }
        if self.final_norm:
            shapes |= _norm('encoder.norm', D)
        if self.decoder:
            d = self.decoder.dim
            shapes |= {
                **_linear('decoder.embed', D, d),
                'decoder.mask_token': (1, 1, d),
                'decoder.pos_embed': (1, N, d),
                **_blocks('decoder', self.decoder),
                **_norm('decoder.norm', d),
                **_linear('decoder.pred', d, self.target_dim),
            }
        if self.head == 'avg':
            shapes |= _norm('head.fc_norm', D)
        if self.head == 'probe':
            shapes |= {f'head.fc_norm.{name}': (D,) for name in ('running_mean', 'running_var')}
            shapes |= {'head.fc_norm.num_batches_tracked': ()}
        if self.head:
            shapes |= _linear('head.fc', D, self.num_classes)
        return shapes


def architecture_of(weights: Mapping[str, Tensor], path: object) -> Architecture:
    """Read the architecture off the shapes and check that every tensor of it is there, no other.

    Args:
        weights: a state dict in this toolbox's names.
        path: where they came from, for messages.

    Raises:
        CheckpointError: a tensor is missing, unknown or of a shape that does not go with the rest.
    """
    found = _read(weights, path)
    shapes = found.shapes()
    wrong = [f'{name} is missing' for name in shapes if name not in weights]
    wrong += [f'{name} is unknown' for name in weights if name not in shapes]
    wrong += [
        f'{name} is {tuple(weights[name].shape)} where {shape} goes with the rest'
        for name, shape in shapes.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if wrong:
        more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
        raise CheckpointError(f'{path} is no whole {found}: {"; ".join(wrong[:3])}{more}')
    return found


def _read(weights: Mapping[str, Tensor], path: object) -> Architecture:
    projection = _need(weights, 'encoder.patch_embed.proj.weight', 4, path)
    positions = _need(weights, 'encoder.pos_embed', 3, path)
    prefix = int('encoder.cls_token' in weights)
    head = None
    if 'head.fc.weight' in weights:
        head = 'cls'
        if any(name.startswith('head.fc_norm.') for name in weights):
            head = 'probe' if 'head.fc_norm.running_mean' in weights else 'avg'
    decoder, target_dim = None, projection.shape[1] * projection.shape[2] * projection.shape[3]
    if any(name.startswith('decoder.') for name in weights):
        decoder = _stack('decoder', _need(weights, 'decoder.embed.weight', 2, path), weights, path)
        target_dim = _need(weights, 'decoder.pred.weight', 2, path).shape[0]
    return Architecture(
        encoder=_stack('encoder', projection, weights, path),
        patch_size=projection.shape[2],
        in_channels=projection.shape[1],
        num_patches=positions.shape[1] - prefix,
        num_prefix_tokens=prefix,
        final_norm=any(name.startswith('encoder.norm.') for name in weights),
        decoder=decoder,
        target_dim=target_dim,
        head=head,
        num_classes=len(weights['head.fc.weight']) if head else 0,
    )


def _need(weights: Mapping[str, Tensor], name: str, ndim: int, path: object) -> Tensor:
    if name not in weights:
        raise CheckpointError(f'{path} has no {name}, in whatever names')
    if weights[name].ndim != ndim:
        shape = tuple(weights[name].shape)
        raise CheckpointError(f'{path}: {name} is {shape}, and not of {ndim} dimensions')
    return weights[name]


def _stack(part: str, first: Tensor, weights: Mapping[str, Tensor], path: object) -> Stack:
    start = f'{part}.blocks.'
    numbers = {int(name.split('.')[2]) for name in weights if name.startswith(start)}
    if not numbers:
        raise CheckpointError(f'{path} has no {part} blocks')
    fc1 = _need(weights, f'{start}0.mlp.fc1.weight', 2, path)
    return Stack(dim=first.shape[0], depth=max(numbers) + 1, hidden_dim=fc1.shape[0])


def _linear(name: str, inputs: int, outputs: int) -> dict[str, Shape]:
    return {f'{name}.weight': (outputs, inputs), f'{name}.bias': (outputs,)}


def _norm(name: str, dim: int) -> dict[str, Shape]:
    return {f'{name}.weight': (dim,), f'{name}.bias': (dim,)}


def _blocks(part: str, stack: Stack) -> dict[str, Shape]:
    D, F = stack.dim, stack.hidden_dim
    shapes: dict[str, Shape] = {}
    for number in range(stack.depth):
        block = f'{part}.blocks.{number}'
        shapes |= {
            **_norm(f'{block}.norm1', D),
            **_linear(f'{block}.attn.qkv', D, 3 * D),
            **_linear(f'{block}.attn.proj', D, D),
            **_norm(f'{block}.norm2', D),
            **_linear(f'{block}.mlp.fc1', D, F),
            **_linear(f'{block}.mlp.fc2', F, D),
        }
    return shapes
