"""`crossearth style fit | preview`: fit styles to a folder of pictures, and look at them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torch import device as device_type

    from crossearth.models.style import MobileStylePredictor, StylePredictor

__all__ = ['add_arguments', 'run']


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    predictor = argparse.ArgumentParser(add_help=False)
    predictor.add_argument(
        '--predictor',
        metavar='FILE',
        help='style predictor: checkpoint_stylepredictor.pth, a converted CrossEarth file '
        '(.safetensors) or the light model (.onnx, .npz) (default: the published full-width '
        'weights, downloaded once)',
    )
    predictor.add_argument(
        '--device', default='cpu', help='where the networks run (default: %(default)s)'
    )

    fit = actions.add_parser(
        'fit',
        parents=[predictor],
        help='fit the distribution of styles to a folder of pictures',
        description='Fit the mean and covariance of the style embeddings of all pictures in a '
        'folder, in one pass. If it is interrupted, the same command resumes where it stopped.',
    )
    fit.add_argument('folder', type=Path, help='folder of pictures, searched with its subfolders')
    fit.add_argument(
        '--output', type=Path, required=True, metavar='FILE', help='file to write (.safetensors)'
    )
    fit.add_argument(
        '--batch-size', type=int, default=32, help='pictures per batch (default: %(default)s)'
    )
    fit.add_argument(
        '--workers',
        type=int,
        default=0,
        help='worker processes that read pictures (default: %(default)s)',
    )
    fit.add_argument(
        '--side-px',
        type=int,
        default=256,
        help='side in pixels that pictures are resized and cropped to (default: %(default)s)',
    )

    preview = actions.add_parser(
        'preview',
        parents=[predictor],
        help='draw a contact sheet of a picture in sampled styles',
        description='Draw a contact sheet: one row per weight of the style. Each row starts with '
        'the original picture, followed by one column per sampled style.',
    )
    preview.add_argument('image', type=Path, help='8-bit picture')
    preview.add_argument('--style', type=Path, required=True, metavar='FILE', help='fitted styles')
    preview.add_argument(
        '--transformer',
        metavar='FILE',
        help='style transformer, from the same source as the predictor (default: the published '
        'full-width weights)',
    )
    preview.add_argument(
        '--output', type=Path, required=True, metavar='FILE', help='picture to write (.png)'
    )
    preview.add_argument(
        '--alpha',
        type=float,
        nargs='+',
        default=[0.0, 0.1, 0.5, 1.0],
        help='weights of the style, 0 to 1 (default: 0 0.1 0.5 1)',
    )
    preview.add_argument(
        '--samples', type=int, default=5, help='number of styles to sample (default: %(default)s)'
    )
    preview.add_argument(
        '--patch-size',
        type=int,
        help='side of styled patches in pixels (default: style the whole picture)',
    )
    preview.add_argument(
        '--ratio',
        type=float,
        default=0.5,
        help='share of patches that are styled (default: %(default)s)',
    )
    preview.add_argument(
        '--covariance',
        choices=['full', 'diagonal'],
        default='full',
        help='covariance of the styles to sample from (default: %(default)s)',
    )
    preview.add_argument(
        '--seed', type=int, default=0, help='seed of the samples (default: %(default)s)'
    )
    preview.add_argument(
        '--side-px',
        type=int,
        default=256,
        help='side of a picture on the sheet in pixels (default: %(default)s)',
    )


def run(arguments: argparse.Namespace) -> str:
    """Fit styles or draw a contact sheet, and return a line that says what was written.

    Raises:
        CrossEarthError: If a file or an option is wrong. The message says what to do.
    """
    return _fit(arguments) if arguments.action == 'fit' else _preview(arguments)


def _fit(arguments: argparse.Namespace) -> str:
    from crossearth.errors import ConfigError
    from crossearth.transforms import EarthStyle, StyleImageFolder

    if arguments.batch_size < 1 or arguments.workers < 0:
        raise ConfigError(
            f'--batch-size {arguments.batch_size} --workers {arguments.workers}: expected at least '
            '1 picture per batch, and 0 or more processes'
        )
    images = StyleImageFolder(arguments.folder, side_px=arguments.side_px)
    predictor = _predictor(arguments.predictor)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    seen = arguments.output.with_name(f'{arguments.output.name}.partial')
    style = EarthStyle.fit(
        images,
        predictor,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
        device=_usable(arguments.device),
        checkpoint=seen,
        progress=True,
    )
    style.save(arguments.output)
    seen.unlink(missing_ok=True)
    count = style.provenance['num_images']
    return f'{arguments.output}: styles of {count} pictures of {arguments.folder}'


def _preview(arguments: argparse.Namespace) -> str:
    import torch

    from crossearth.errors import ConfigError
    from crossearth.models.style import load_style_transformer
    from crossearth.radiometry import to_unit
    from crossearth.transforms import EarthStyle, EarthStyleInjection
    from crossearth.transforms.style_images import read_picture

    if arguments.samples < 1 or arguments.output.suffix.lower() != '.png':
        raise ConfigError(
            f'--samples {arguments.samples} --output {arguments.output}: expected at least one '
            'sample, and a name that ends in .png'
        )
    style = EarthStyle.load(arguments.style)
    predictor = _predictor(arguments.predictor)
    given = arguments.transformer
    transformer = load_style_transformer(given) if given else load_style_transformer()
    device = _usable(arguments.device)
    image = to_unit(read_picture(arguments.image, side_px=arguments.side_px))
    rows = []
    for alpha in arguments.alpha:
        inject = EarthStyleInjection(
            style,
            predictor,
            transformer,
            patch_size=arguments.patch_size,
            ratio=arguments.ratio,
            alpha=alpha,
            p=1.0,
            covariance=arguments.covariance,
            # every row uses the same seed, so that a column shows one style
            generator=torch.Generator().manual_seed(arguments.seed),
        ).to(device)
        styled = inject(image.to(device).expand(arguments.samples, -1, -1, -1)).cpu()
        rows.append([image, *styled])
    sheet = _contact_sheet(rows, [f'alpha {alpha:g}' for alpha in arguments.alpha])
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    beside = arguments.output.with_name(f'.{arguments.output.name}')
    try:
        sheet.save(beside, format='PNG')
        beside.replace(arguments.output)
    finally:
        beside.unlink(missing_ok=True)
    return f'{arguments.output}: {len(rows)} weights × {arguments.samples} styles'


def _predictor(file: str | None) -> 'StylePredictor | MobileStylePredictor':
    from crossearth.models.style import load_style_predictor

    return load_style_predictor(file) if file else load_style_predictor()


def _usable(device: str) -> 'device_type':
    """The device of that name.

    Raises:
        ConfigError: If it does not exist.
    """
    import torch

    from crossearth.errors import ConfigError

    try:
        return torch.zeros((), device=device).device
    except (RuntimeError, AssertionError) as error:  # which one depends on the build of torch
        reason = str(error).splitlines()[0]
        raise ConfigError(f'device {device!r} cannot be used ({reason}): try cpu') from error


def _contact_sheet(rows: 'list[list[Tensor]]', labels: list[str]) -> 'Image':
    """Pictures (3,h,w) in [0, 1] of one size, in rows, with a label before each row."""
    import torch
    from PIL import Image, ImageDraw

    gap, margin = 4, 72  # pixels; labels say alpha because Pillow's font has no Greek letters
    height, width = rows[0][0].shape[-2:]
    columns = max(len(row) for row in rows)
    sheet = Image.new(
        'RGB',
        (margin + columns * (width + gap), len(rows) * (height + gap) - gap),
        'white',
    )
    draw = ImageDraw.Draw(sheet)
    for y, (row, label) in enumerate(zip(rows, labels, strict=True)):
        top = y * (height + gap)
        draw.text((6, top + height // 2 - 6), label, fill='black', font_size=13)
        for x, picture in enumerate(row):
            pixels = (picture.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
            sheet.paste(Image.fromarray(pixels.numpy()), (margin + x * (width + gap), top))
    return sheet
