"""Label maps and objects drawn over their images.

Shapes: B images, C channels, H W pixels, G objects, N classes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn.functional import interpolate

from mae.visualization.captions import Font, legend_lines
from mae.visualization.colours import INK, PAPER, SOFT, Colour, colour_of
from mae.visualization.panels import Pixels

# Classes of these names are what is behind the things: they are left as they are.
BACKGROUNDS = ('background', 'canvas', 'other')
IGNORED = 'ignored'

_TINT = 0.55
_DIM = 0.35  # of ignored pixels
_FONT, _GAP, _CHIP = 12, 8, 10
_SMALLEST, _LARGEST = 192, 512  # longer side of a drawn picture in pixels


@dataclass(frozen=True)
class Objects:
    """Objects of one image.

    Attributes:
        boxes: left, top, right, bottom in pixels, float (G, 4).
        labels: numbers of the classes, (G,).
        scores: 0 to 1, (G,); None for the truth.
        masks: bool (G, H, W); None without masks.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64] | None = None
    masks: NDArray[np.bool_] | None = None


Content = NDArray[np.int64] | Objects  # a label map (H, W), or objects


@dataclass(frozen=True)
class DenseView:
    """An image with what a model has found in it, and the truth where it is known.

    Attributes:
        image: uint8 (H, W) or (H, W, 3).
        found: label map (H, W), or objects, in the image's pixels.
        truth: likewise; None if it is unknown.
        caption: one line.
    """

    image: Pixels
    found: Content
    truth: Content | None = None
    caption: str = ''

    @property
    def columns(self) -> tuple[str, ...]:
        """What `draw` gives, from the left."""
        return ('image', 'prediction') if self.truth is None else ('image', 'truth', 'prediction')

    def draw(self, names: Sequence[str]) -> list[Image.Image]:
        """The pictures of `columns`, all of one size, small images enlarged.

        Args:
            names: of the classes, in the order of the labels.
        """
        longest = max(self.image.shape[:2])
        scale = min(max(1.0, -(-_SMALLEST // longest)), _LARGEST / longest)
        contents = [c for c in (self.truth, self.found) if c is not None]
        picture = _scaled(Image.fromarray(self.image).convert('RGB'), scale)
        return [picture, *(_draw(picture, content, names, scale) for content in contents)]

    def labels(self, num_classes: int) -> list[int]:
        """The labels that occur, in their order; `num_classes` stands for the ignored ones."""
        found: set[int] = set()
        for content in (self.truth, self.found):
            if isinstance(content, Objects):
                found |= set(content.labels.tolist())
            elif content is not None:
                present = np.unique(content)
                known = (present >= 0) & (present < num_classes)
                found |= set(present[known].tolist())
                found |= set() if known.all() else {num_classes}
        return sorted(found)


def views_of(
    batch: Mapping[str, Any], outputs: Sequence[Mapping[str, Any]], *, min_score: float = 0.5
) -> Iterator[DenseView]:
    """A view of each image of a batch, one at a time.

    Args:
        batch: collated, on any device: `inputs` uint8 (B, C, H, W) with 1 or 3 channels, and
            perhaps `shapes` (B, 2), the parts that are picture, and `originals` (B, 2).
        outputs: of a model with `mode='predict'`: one dict with `pred_maps`, lists of label maps,
            and perhaps `maps`; or for each image one with `detections` and perhaps `objects`.
        min_score: of a detection that is drawn.
    """
    shapes = batch['shapes'].tolist() if 'shapes' in batch else None
    for number, image in enumerate(batch['inputs']):
        if shapes is not None:
            image = image[:, : shapes[number][0], : shapes[number][1]]
        if 'pred_maps' in outputs[0]:
            found = _array(outputs[0]['pred_maps'][number])
            truth = _array(outputs[0]['maps'][number]) if 'maps' in outputs[0] else None
            yield DenseView(_pixels(image, found.shape), found, truth)
            continue
        output = outputs[number]
        size = batch['originals'][number].tolist() if 'originals' in batch else image.shape[-2:]
        drawn = _objects(output['detections'], min_score)
        there = _objects(output['objects']) if 'objects' in output else None
        yield DenseView(_pixels(image, size), drawn, there)


def can_be_drawn(batch: Mapping[str, Any], outputs: Sequence[Any]) -> bool:
    """Whether `views_of` takes them: predictions of pixels or objects, of grey or RGB images."""
    inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
    first = outputs[0] if outputs else None
    is_dense = isinstance(first, Mapping) and ('pred_maps' in first or 'detections' in first)
    return is_dense and isinstance(inputs, Tensor) and inputs.shape[1] in (1, 3)


def _pixels(image: Tensor, size: Sequence[int]) -> Pixels:
    """uint8 (C, h, w) to (H, W) or (H, W, 3)."""
    image = image.cpu()
    if tuple(image.shape[-2:]) != tuple(size):
        mode: dict[str, Any] = {'mode': 'bilinear', 'antialias': True}
        image = interpolate(image[None].float(), tuple(size), **mode)[0].round().to(torch.uint8)
    pixels = image[0] if len(image) == 1 else image.permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())


def _array(labels: Tensor) -> NDArray[np.int64]:
    found: NDArray[np.int64] = labels.long().cpu().numpy()
    return found


def _objects(columns: Mapping[str, Tensor], min_score: float = 0.0) -> Objects:
    """Detections of at least this score, or the truth."""
    chosen = dict(columns)
    if 'scores' in columns:
        keep = columns['scores'] >= min_score
        chosen = {name: column[keep] for name, column in columns.items()}
    arrays = {name: column.cpu().numpy() for name, column in chosen.items()}
    return Objects(arrays['boxes'], arrays['classes'], arrays.get('scores'), arrays.get('masks'))


def legend_of(views: Sequence[DenseView], names: Sequence[str]) -> list[tuple[str, Colour]]:
    """Name and colour of every class that occurs; those left as they are have none."""
    occurring = sorted({label for view in views for label in view.labels(len(names))})
    rows = []
    for label in occurring:
        if label == len(names):
            rows.append((IGNORED, SOFT))
        elif names[label] not in BACKGROUNDS:
            rows.append((names[label], colour_of(label)))
    return rows


def dense_sheet(views: Sequence[DenseView], names: Sequence[str]) -> Image.Image:
    """All views in one picture, a row each, and the legend below."""
    drawn = [view.draw(names) for view in views]
    font = ImageFont.load_default(_FONT)
    line = _FONT + 6
    cells = [max(row[n].width for row in drawn if n < len(row)) for n in range(_widest(drawn))]
    width = sum(cells) + _GAP * (len(cells) + 1)
    entries = legend_of(views, names)
    spaces = [_CHIP + 4 + round(font.getlength(name)) + 12 for name, _ in entries]
    legend = legend_lines(entries, spaces, left=_GAP, right=width)
    heights = [
        row[0].height + line * bool(view.caption) for row, view in zip(drawn, views, strict=True)
    ]
    height = (
        line + sum(heights) + _GAP * (len(drawn) + 1) + line * len(legend) + _GAP * bool(legend)
    )
    sheet = Image.new('RGB', (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_GAP + sum(cells[:n]) + _GAP * n for n in range(len(cells))]
    titles = max(views, key=lambda view: len(view.columns)).columns
    for left, title in zip(lefts, titles, strict=True):
        draw.text((left, _GAP // 2), title, SOFT, font)
    top = line + _GAP
    for row, view, used in zip(drawn, views, heights, strict=True):
        for left, picture in zip(lefts, row, strict=False):
            sheet.paste(picture, (left, top))
        if view.caption:
            draw.text((_GAP, top + row[0].height + 2), view.caption, INK, font)
        top += used + _GAP
    for placed in legend:
        for start, (name, colour) in placed:
            draw.rectangle((start, top + 2, start + _CHIP, top + 2 + _CHIP), colour)
            draw.text((start + _CHIP + 4, top), name, INK, font)
        top += line
    return sheet


def _widest(rows: Sequence[Sequence[object]]) -> int:
    return max(len(row) for row in rows)


def _draw(
    picture: Image.Image, content: Content, names: Sequence[str], scale: float
) -> Image.Image:
    if isinstance(content, Objects):
        return _draw_objects(picture, content, names, scale)
    return _draw_map(picture, content, names)


def _draw_map(picture: Image.Image, labels: NDArray[np.int64], names: Sequence[str]) -> Image.Image:
    """Each class in its colour, a darker line between classes, ignored pixels dimmed."""
    large = _nearest(labels, picture)
    pixels = np.asarray(picture, np.float64).copy()
    known = (large >= 0) & (large < len(names))
    pixels[~known] *= _DIM
    for label in np.unique(large[known]).tolist():
        if names[label] not in BACKGROUNDS:
            here = large == label
            pixels[here] = (1 - _TINT) * pixels[here] + _TINT * np.array(colour_of(label))
    return _edged(pixels, large)


def _edged(pixels: NDArray[np.float64], labels: NDArray[np.int64]) -> Image.Image:
    """Pixels of which the right or the lower neighbour has another label are darkened."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    pixels[edge] *= 0.6
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _draw_objects(
    picture: Image.Image, objects: Objects, names: Sequence[str], scale: float
) -> Image.Image:
    """Masks tinted, boxes around them, and name and score in a corner; the best ones on top."""
    order = range(len(objects.labels))
    if objects.scores is not None:
        order = np.argsort(objects.scores, kind='stable').tolist()
    pixels = np.asarray(picture, np.float64).copy()
    if objects.masks is not None:
        for number in order:
            here = _nearest(objects.masks[number].astype(np.int64), picture) > 0
            colour = np.array(colour_of(int(objects.labels[number])))
            pixels[here] = (1 - _TINT) * pixels[here] + _TINT * colour
    drawn = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
    draw, font = ImageDraw.Draw(drawn), ImageFont.load_default(_FONT)
    for number in order:
        label = int(objects.labels[number])
        score = '' if objects.scores is None else f' {objects.scores[number]:.2f}'
        box = tuple((objects.boxes[number] * scale).tolist())
        _draw_box(draw, box, f'{names[label]}{score}', colour_of(label), drawn.size, font)
    if not len(objects.labels):
        draw.rectangle((0, 0, font.getlength('none') + 8, _FONT + 5), PAPER)
        draw.text((4, 1), 'none', SOFT, font)
    return drawn


def _draw_box(
    draw: ImageDraw.ImageDraw,
    box: tuple[float, ...],
    text: str,
    colour: Colour,
    size: tuple[int, int],
    font: Font,
) -> None:
    left, top, right, bottom = box
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    draw.rectangle((left, top, right, bottom), outline=colour, width=2)
    width, height = font.getlength(text) + 4, _FONT + 3
    x = min(max(left, 0), max(size[0] - width, 0))
    y = top - height if top >= height else min(top, size[1] - height)
    draw.rectangle((x, y, x + width, y + height), colour)
    ink = INK if sum(colour) > 380 else PAPER
    draw.text((x + 2, y), text, ink, font)


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    size = tuple(max(1, round(side * scale)) for side in picture.size)
    sharp = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BICUBIC
    return picture.resize((size[0], size[1]), sharp)


def _nearest(values: NDArray[np.int64], picture: Image.Image) -> NDArray[np.int64]:
    """Whole numbers (H, W) at the picture's size."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip((picture.height, picture.width), values.shape, strict=True)
    )
    picked: NDArray[np.int64] = values[rows[:, None], columns[None]]
    return picked
