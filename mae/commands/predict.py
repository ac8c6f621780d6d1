"""Predictions for images, on stdout or in files: classes, label maps or objects.

Of a classifier the likeliest classes; of a segmenter the share of each class, with --out FOLDER a
label map (PNG) for each image; of a detector the objects, with --out FILE.json in COCO's layout.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mae.utils.command_line import add_eval_amp, eval_amp_of, parse
from mae.utils.text import counted


def parse_args(argv: Sequence[str] | None = None, prog: str | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = _parser(prog)
    args = parse(parser, argv)
    _check(parser, args)
    return args


def _parser(prog: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    parser.add_argument('model', help='name of published weights (`mae zoo list`), or a config')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files and folders')
    parser.add_argument('--weights', help='path or address of weights, if not the published ones')
    parser.add_argument(
        '--topk',
        type=int,
        default=5,
        help='classes or objects listed for an image; a file has all objects (default: 5)',
    )
    parser.add_argument(
        '--min-score', type=float, default=0.0, help='of a detection, 0 to 1 (default: 0)'
    )
    parser.add_argument('--classes', type=Path, metavar='FILE', help='class names, a line each')
    parser.add_argument(
        '--annotations',
        type=Path,
        metavar='FILE.json',
        help="COCO annotation file whose ids of images and categories a detector's file takes",
    )
    parser.add_argument(
        '--out',
        type=Path,
        metavar='PATH',
        help='write the predictions here: FILE.json, of a segmenter a new FOLDER',
    )
    parser.add_argument(
        '--batch-size',
        type=int,
        help='images in one forward pass (default: 32; 1 for maps and objects)',
    )
    parser.add_argument('--device', default='cpu', help='cpu or cuda (default: %(default)s)')
    add_eval_amp(parser)
    return parser


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if args.out is not None and args.out.suffix not in ('', '.json'):
        parser.error(f'--out must end in .json, or be a folder of label maps, not {args.out}')
    if args.topk < 1:
        parser.error(f'--topk must be at least 1, not {args.topk}')
    if not 0 <= args.min_score <= 1:
        parser.error(f'--min-score must lie in 0..1, not {args.min_score}')
    if args.annotations is not None and args.out is None:
        parser.error('--annotations is for the file of --out')


def main(argv: Sequence[str] | None = None, prog: str | None = None) -> None:
    """Predict; `argv` stands for the command line."""
    args = parse_args(argv, prog)
    from mae.apis.zoo import load_model
    from mae.models.algorithms import Detector, Segmenter
    from mae.utils.errors import ConfigError
    from mae.utils.text import read_lines

    loaded = load_model(args.model, args.weights or True, device=args.device)
    options: dict[str, Any] = {'device': args.device, 'amp': eval_amp_of(args)}
    if args.classes:
        options['classes'] = [line for _, line in read_lines(args.classes)]
    if args.batch_size is not None:
        options['batch_size'] = args.batch_size
    is_map = isinstance(loaded.model, Segmenter)
    if args.out is not None and (args.out.suffix == '.json') == is_map:
        kind = 'a segmenter writes a folder of maps' if is_map else 'predictions go to a .json file'
        raise ConfigError(f'--out {args.out}: {kind}')
    if args.annotations is not None and not isinstance(loaded.model, Detector):
        raise ConfigError(
            f'--annotations is for detectors, not for a {type(loaded.model).__name__}'
        )
    if is_map:
        _segment(args, loaded, options)
    elif isinstance(loaded.model, Detector):
        _detect(args, loaded, options)
    else:
        _classify(args, loaded, options)


def _classify(args: argparse.Namespace, loaded: Any, options: dict[str, Any]) -> None:
    from dataclasses import asdict

    from mae.apis import ImageClassifierInferencer
    from mae.utils.files import write_json

    result = ImageClassifierInferencer(loaded, topk=args.topk, **options)(args.images)
    if args.out is not None:
        write_json(args.out, asdict(result))
        print(f'wrote {args.out}: {counted(len(result.images), "image")}')
        return
    for image in result.images:
        _print(image.name, zip(image.classes, image.scores, strict=True))


def _segment(args: argparse.Namespace, loaded: Any, options: dict[str, Any]) -> None:
    from mae.apis import SegmentationInferencer
    from mae.apis.segment import save_segmentations

    segment = SegmentationInferencer(loaded, **options)
    if args.out is not None:
        number = save_segmentations(segment, args.images, args.out)
        print(f'wrote {args.out}: label maps of {counted(number, "image")} and predictions.json')
        return
    for image in segment(args.images).images:
        _print(image.name, list(image.shares.items())[: args.topk])


def _detect(args: argparse.Namespace, loaded: Any, options: dict[str, Any]) -> None:
    from mae.apis import DetectionInferencer
    from mae.apis.detect import save_detections

    detect = DetectionInferencer(loaded, min_score=args.min_score, **options)
    if args.out is not None:
        number, objects = save_detections(detect, args.images, args.out, args.annotations)
        print(f'wrote {args.out}: {counted(objects, "object")} in {counted(number, "image")}')
        return
    for image in detect(args.images).images:
        places = [f'[{", ".join(f"{side:.0f}" for side in box)}]' for box in image.boxes]
        names = [f'{name} {place}' for name, place in zip(image.classes, places, strict=True)]
        _print(image.name, list(zip(names, image.scores, strict=True))[: args.topk])
        if len(names) > args.topk:
            print(f'  and {len(names) - args.topk} more')


def _print(name: str, rows: Any) -> None:
    from mae.utils.text import printable

    print(printable(name))
    for label, share in rows:
        print(f'  {100 * share:5.1f} %  {printable(label)}')
