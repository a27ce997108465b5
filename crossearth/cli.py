"""The command line: `crossearth demo | fit | validate | test | predict | data | benchmark`."""

import argparse
import sys
import warnings
from collections.abc import Sequence

from crossearth.commands import benchmark as benchmark_command
from crossearth.commands import data as data_command
from crossearth.errors import CrossEarthError

__all__ = ['main']

_LIGHTNING = {
    'fit': 'train a model from a recipe',
    'validate': 'score a checkpoint on validation scenes',
    'test': 'score a checkpoint on the source and every unseen domain',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; errors of this library become one line and exit status 2.

    Args:
        argv: Words after the program's name; None for those of the process.

    Returns:
        Exit status.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in _LIGHTNING:
            _run_lightning(None if argv is None else words)
        else:
            arguments = _parser().parse_args(words)
            arguments.run(arguments)
    except CrossEarthError as error:
        print(f'crossearth: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('crossearth: interrupted; files that were not finished are removed', file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='crossearth',
        description='Segment remote-sensing images where no label was ever drawn.',
    )
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    demo = commands.add_parser('demo', help='the whole story on generated data')
    demo.add_argument('--output', default='crossearth-demo', help='folder for everything it makes')
    demo.add_argument('--quick', action='store_true', help='a minute, with weaker models')
    demo.add_argument('--seed', type=int, default=0, help='same seed, same numbers')
    demo.set_defaults(run=_run_demo)
    predict = commands.add_parser('predict', help='map a scene with a trained model')
    predict.add_argument('scene', help='image in any format and CRS that GDAL reads')
    predict.add_argument('map', help='GeoTIFF to write')
    predict.add_argument('--weights', required=True, help='.safetensors file of save_model')
    predict.add_argument('--tile-px', type=int, default=512, help='side of a window')
    predict.add_argument('--overlap', type=float, default=1 / 3, help='share that windows share')
    predict.add_argument('--batch-size', type=int, default=2, help='windows a batch')
    predict.add_argument('--bands', type=int, nargs='+', help="1-based bands, in the model's order")
    predict.add_argument(
        '--value-range', type=float, nargs=2, metavar=('BLACK', 'WHITE'), help='values of 0 and 1'
    )
    predict.add_argument('--device', help='where the model runs, such as cpu or cuda')
    predict.set_defaults(run=_run_predict)
    data = commands.add_parser('data', help='published archives: what they hold, what a copy lacks')
    data_command.add_arguments(data)
    data.set_defaults(run=lambda arguments: data_command.run(arguments, say=print))
    benchmark = commands.add_parser('benchmark', help='the settings of the RSDG benchmark')
    benchmark_command.add_arguments(benchmark)
    benchmark.set_defaults(run=lambda arguments: benchmark_command.run(arguments, say=print))
    for name, text in _LIGHTNING.items():
        commands.add_parser(name, help=f'{text} (crossearth {name} --help)', add_help=False)
    return parser


def _run_demo(arguments: argparse.Namespace) -> None:
    from crossearth.demo import run_demo

    run_demo(arguments.output, quick=arguments.quick, seed=arguments.seed, say=print)


def _run_predict(arguments: argparse.Namespace) -> None:
    from crossearth.inference import predict_scene
    from crossearth.models import load_model, read_model_info

    model = load_model(arguments.weights)
    if arguments.device is not None:
        model.to(arguments.device)
    black_white = arguments.value_range
    made = predict_scene(
        model,
        arguments.scene,
        arguments.map,
        tile_px=arguments.tile_px,
        overlap=arguments.overlap,
        batch_size=arguments.batch_size,
        bands=arguments.bands,
        value_range=None if black_white is None else (black_white[0], black_white[1]),
        labels=read_model_info(arguments.weights).labels,
        progress=True,
    )
    print(
        f'{made.path}: {made.height} x {made.width} px, {made.windows} windows, '
        f'{made.seconds:.1f} s'
    )


def _run_lightning(words: list[str] | None) -> None:
    from lightning.pytorch.cli import LightningCLI

    from crossearth.datasets import ShiftDataModule
    from crossearth.trainers import DomainGeneralizationTask

    class Line(LightningCLI):
        def before_instantiate_classes(self) -> None:
            # A checkpoint may come from anywhere: it holds tensors and numbers, and no code is run.
            self.config[self.subcommand]['weights_only'] = True

    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*does not have many workers')
        warnings.filterwarnings('ignore', message='Total length of .list. across ranks')
        warnings.filterwarnings('ignore', message='.*LeafSpec')  # lightning's use of torch
        Line(
            DomainGeneralizationTask,
            ShiftDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            trainer_defaults={'use_distributed_sampler': False},
            save_config_kwargs={'overwrite': True},
            args=words,
        )


if __name__ == '__main__':
    sys.exit(main())
