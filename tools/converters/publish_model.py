"""Make weights to give away: no optimizer, SHA-256 in the name, model card, metafile entry."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mae.utils import strict_json
from mae.utils.command_line import parse


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line, without importing anything heavy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', help='checkpoint of a run, or weights in any known format')
    parser.add_argument('--name', required=True, help='name of the model; its hash is added')
    parser.add_argument(
        '--license', required=True, help="licence of the weights, e.g. 'Apache-2.0'"
    )
    parser.add_argument(
        '--config',
        help='name or path of the config they were trained with, which they must fit: then the '
        'entry has all that model-index.yml asks for, but the address',
    )
    parser.add_argument('--source', default='not stated', help='who trained and publishes them')
    parser.add_argument(
        '--metrics', type=Path, metavar='FILE.json', help='results that tools/test.py --out wrote'
    )
    parser.add_argument(
        '--out-dir', type=Path, default=Path('.'), help='default: the current folder'
    )
    parser.add_argument(
        '--suffix', choices=['.safetensors', '.pth'], default='.safetensors', help='file format'
    )
    return parse(parser, argv)


def read_metrics(path: Path) -> dict[str, float]:
    """Numbers by name.

    Raises:
        ValueError: the file holds something else.
    """
    try:
        metrics = strict_json.loads_numbers(path.read_bytes())
    except ValueError as error:
        raise ValueError(f'{path} is not readable JSON: {error}') from None
    if not isinstance(metrics, dict):
        raise ValueError(f'{path} holds a {type(metrics).__name__}, not metrics by name')
    return {name: value for name, value in metrics.items() if name != 'per_class'}


def main(argv: Sequence[str] | None = None) -> None:
    """Publish; `argv` stands for the command line."""
    args = parse_args(argv)
    metrics = read_metrics(args.metrics) if args.metrics else None
    from mae.apis import publish

    done = publish(
        args.checkpoint,
        args.out_dir,
        args.name,
        license_=args.license,
        config=args.config,
        source=args.source,
        metrics=metrics,
        suffix=args.suffix,
    )
    for path in (done.weights, done.card, done.metafile):
        print(f'wrote {path}')


if __name__ == '__main__':
    parse_args()  # `--help` and typos need not wait for the imports, which take seconds
    from mae.apis.cli import run_command

    run_command(main)
