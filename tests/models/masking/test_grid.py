import torch

from mae.models.masking import GridMasker


def test_one_of_four_in_a_regular_lattice():
    visible = GridMasker()((6, 8), torch.arange(3)).dense().reshape(3, 6, 8) == 0
    expected = torch.zeros(6, 8, dtype=torch.bool)
    expected[::2, ::2] = True
    assert torch.equal(visible, expected.expand(3, -1, -1))


def test_other_strides_and_ratios():
    visible = GridMasker(8 / 9, stride=3)((3, 6), torch.arange(1)).dense().reshape(3, 6) == 0
    assert visible.nonzero().tolist() == [[0, 0], [0, 3]]
    # 50 %: the second place of each cell joins the first.
    visible = GridMasker(0.5)((4, 4), torch.arange(1)).dense().reshape(4, 4) == 0
    assert visible[::2].all()
    assert not visible[1::2].any()
