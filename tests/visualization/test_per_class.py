import numpy as np
import pytest

from mae.visualization.per_class import confusion_picture, mistakes_picture


@pytest.mark.parametrize(('num_classes', 'cell'), [(3, 36), (40, 14), (250, 4), (1500, 1)])
def test_confusion(num_classes, cell):
    """A cell for each pair: blue on the diagonal, orange where images are mistaken."""
    counts = np.diag(np.full(num_classes, 3))
    counts[0, 1] = 1
    counts[2] = 0  # no images
    names = [f'class {number}' for number in range(num_classes)]
    pixels = np.asarray(confusion_picture(counts.tolist(), names)).astype(int)
    red, blue = pixels[..., 0], pixels[..., 2]
    shaded = abs(red - blue) > 40
    rows, columns = np.flatnonzero(shaded.any(1)), np.flatnonzero(shaded.any(0))
    assert len(rows) == cell * (num_classes - 1)
    top, left = rows[0], columns[0]

    def color(row, column):
        at = pixels[top + row * cell, left + column * cell]
        return 'white' if min(at) == 255 else 'blue' if at[2] > at[0] else 'orange'

    assert [color(*at) for at in ((0, 0), (1, 1), (2, 2), (0, 1), (1, 0))] == [
        *('blue', 'blue', 'white', 'orange', 'white')
    ]


def test_mistakes():
    images = [np.full((10, 20), 7, np.uint8), np.full((300, 200, 3), (9, 99, 199), np.uint8)] * 4
    sheet = mistakes_picture(images, [('cat', f'as dog {"long" * n}') for n in range(8)])
    assert sheet.size == (6 * 136 + 8, 2 * (136 + 32) + 8)
    assert sheet.getpixel((8, 8 + 64)) == (7, 7, 7)
    assert sheet.getpixel((8 + 136 + 64, 8 + 127)) == (9, 99, 199)  # tall: fills the height
    assert sheet.getpixel((8, 8)) == (255, 255, 255)  # wide: half of it


def test_fewer_mistakes_than_columns():
    assert mistakes_picture([np.zeros((8, 8, 3), np.uint8)], [('a', 'b')]).size[0] == 136 + 8
