import numpy as np
import pytest
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_images


@pytest.fixture(scope='session')
def photo():
    """A real photograph, 427x640, RGB."""
    return Image.fromarray(load_sample_images().images[0])


@pytest.fixture(scope='session')
def portrait():
    """A real photograph that is taller than wide, 512x400, RGB."""
    return Image.fromarray(data.astronaut()[:, 40:440])


@pytest.fixture(scope='session')
def tree(tmp_path_factory, photo, portrait):
    """ImageNet's layout with 3 classes x 8 crops of real photographs in mixed formats."""
    root = tmp_path_factory.mktemp('tree')
    rng = np.random.default_rng(0)
    suffixes = ['.JPEG', '.jpg', '.png', '.webp']
    for split, count in (('train', 8), ('val', 2)):
        for name in ('n01', 'n02', 'n03'):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                source = (photo, portrait)[number % 2]
                left, top = rng.integers(0, 250, 2).tolist()
                crop = source.crop((left, top, left + 90 + 5 * number, top + 110))
                crop.save(root / split / name / f'{number}{suffixes[number % 4]}')
    return root
