"""How far `Corrupt` is from the package `imagecorruptions`: a table of every kind and severity.

    pip install --no-deps imagecorruptions-imaug numba llvmlite
    python -m tests.datasets.transforms.corruption_distance

Each figure is the mean absolute distance of pixels between our image and theirs, by that between
theirs and the clean one; over photographs of 224 px, both drawn after the same
`numpy.random.seed`. In parentheses the same between two draws of theirs.
"""

import numpy as np
import torch

from mae.datasets.transforms import Corrupt
from mae.datasets.transforms.corruptions import CORRUPTIONS, SEVERITIES


def ours(image, kind, severity, seed, **settings):
    """Float (H, W, C) of a uint8 one, corrupted by us."""
    np.random.seed(seed)
    img = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    out = Corrupt(kind, severity, **settings).transform({'img': img})['img']
    return out.permute(1, 2, 0).numpy().astype(float)


def theirs(package, image, kind, severity, seed):
    """Float (H, W, C) of a uint8 one, corrupted by them."""
    np.random.seed(seed)
    return package.corrupt(image, corruption_name=kind, severity=severity).astype(float)


def distances(package, images, kind, severity, seeds=(0,)):
    """Ours to theirs, theirs to another draw of theirs, theirs to the clean image."""
    rows = []
    for image in images:
        for seed in seeds:
            them = theirs(package, image, kind, severity, seed)
            others = (
                ours(image, kind, severity, seed),
                theirs(package, image, kind, severity, seed + 100),
                image,
            )
            rows.append([np.abs(them - other).mean() for other in others])
    return np.mean(rows, 0)


def main():
    import imagecorruptions
    from skimage import data
    from sklearn.datasets import load_sample_images

    images = (load_sample_images().images[0][100:], data.astronaut(), data.chelsea()[20:])
    images = [np.ascontiguousarray(image[:224, 200:424]) for image in images]
    print('| kind |', ' | '.join(map(str, SEVERITIES)), '|')
    print('|---' * 6 + '|')
    for kind in CORRUPTIONS:
        cells = []
        for severity in SEVERITIES:
            apart, between, clean = distances(imagecorruptions, images, kind, severity, (0, 1, 2))
            other = f' ({between / clean:.2f})' if between else ''
            cells.append(f'{apart / clean:.3f}{other}')
        print(f'| {kind} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
