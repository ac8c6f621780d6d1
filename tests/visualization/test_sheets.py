"""Sheets of pictures, maps over images, and lines of text."""

import numpy as np
from PIL import ImageFont

from mae.visualization.captions import break_text, fit_text
from mae.visualization.panels import Panel
from mae.visualization.sheets import Cell, contact_sheet, heat_over, picture_sheet


def test_cells_stand_in_rows_and_columns():
    grey, wide = np.full((4, 4), 7, np.uint8), np.full((10, 20, 3), (9, 99, 199), np.uint8)
    sheet = picture_sheet([[Cell(grey, 'a'), Cell(wide)], [Cell(wide)]], ['one', 'two'], side=80)
    assert sheet.size == (2 * 88 + 8, 8 + 16 + 2 * (80 + 16 + 8))
    assert sheet.getpixel((8, 24)) == (7, 7, 7)
    assert sheet.getpixel((96 + 40, 24 + 40)) == (9, 99, 199)  # wide: half of its square
    assert sheet.getpixel((96 + 40, 24 + 5)) == (255, 255, 255)
    assert sheet.getpixel((8 + 40, 24 + 104 + 40)) == (9, 99, 199)
    assert sheet.getpixel((96 + 40, 24 + 104 + 40)) == (255, 255, 255)  # no such cell


def test_a_note_makes_the_sheet_longer():
    row = [Cell(np.zeros((8, 8), np.uint8))]
    plain = picture_sheet([row]).height
    assert picture_sheet([row], note='words ' * 30).height > picture_sheet([row], note='w').height
    assert picture_sheet([row], note='w').height == plain + 16


def test_a_contact_sheet_enlarges_without_smoothing():
    pictures = [np.full((8, 12), level, np.uint8) for level in (10, 20, 30)]
    sheet = np.asarray(contact_sheet([Panel(*pictures)] * 2))
    assert sheet.shape == (2 * 104 + 8, 3 * 152 + 8, 3)  # 12 times as large
    assert set(np.unique(sheet)) == {10, 20, 30, 255}
    assert np.all(sheet[8:104, 160:304] == 20)
    assert np.all(sheet[112:208, 312:456] == 30)


def test_the_note_stands_below_a_contact_sheet():
    pictures = [np.full((8, 12), level, np.uint8) for level in (10, 20, 30)]
    plain = np.asarray(contact_sheet([Panel(*pictures)] * 2))
    noted = np.asarray(contact_sheet([Panel(*pictures, note='predicts neither ' * 9)] * 2))
    assert noted.shape[1] == plain.shape[1]
    np.testing.assert_array_equal(noted[: len(plain) - 8], plain[:-8])
    below = noted[len(plain) :]
    assert len(below) > 20  # more than one line
    assert below.min() < 120
    assert np.all(below[:, -2:] == 255)
    assert np.all(below[-2:] == 255)


def test_maps_are_drawn_where_their_values_are():
    heat = np.array([[0.0, 5.0, 10.0], [0, 0, 0]])
    found = heat_over(np.zeros((8, 12, 3), np.uint8), heat)
    assert found.shape == (8, 12, 3)
    assert not found[:, :4].any()
    assert (found[:4, 8:] == found[0, 8]).all()
    levels = found.sum(-1, dtype=int)[0, [0, 4, 8]]
    assert list(levels) == sorted(levels)
    assert found[0, 8].argmin() == 2  # yellow


def test_a_map_of_equal_values_is_black():
    assert not heat_over(np.zeros((4, 4), np.uint8), np.full((2, 2), 0.25)).any()


def test_text_is_cut_and_broken():
    font = ImageFont.load_default(12)
    assert fit_text('short', 100, font) == 'short'
    cut = fit_text('a long line of words', 50, font)
    assert cut.endswith('…')
    assert font.getlength(cut) <= 50
    lines = break_text('a long line of words', 50, font)
    assert ' '.join(lines) == 'a long line of words'
    assert len(lines) > 1
    assert break_text('', 50, font) == []
