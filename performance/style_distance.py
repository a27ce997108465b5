"""Does injection bring the styles of a source closer to those of other places?

Prints the Fréchet distance between the style embeddings of real Massachusetts images, with and
without injected copies, and those of AID scenes on which the styles were not fitted.

    python performance/style_distance.py [--alpha 0 0.1 0.5 1] [--images 113]

Reads the real images and the light style networks from CROSSEARTH_TEST_DATA (../shared/data).
"""

import argparse
import os
from pathlib import Path

import torch
from torch.utils.data import Subset

from crossearth.models.style import light_style_networks
from crossearth.radiometry import to_unit
from crossearth.transforms import (
    EarthStyle,
    EarthStyleInjection,
    FourierStyle,
    StyleImageFolder,
    StyleInjection,
    StyleMoments,
    style_distance,
)

DATA = Path(os.environ.get('CROSSEARTH_TEST_DATA', '../shared/data'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--alpha', type=float, nargs='+', default=[0.0, 0.1, 0.5, 1.0])
    parser.add_argument('--images', type=int, default=113, help='of the source, train and val')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    weights = DATA / 'weights' / 'style'
    networks = light_style_networks(
        weights / 'arbitrary_predict.onnx', weights / 'arbitrary_transform.onnx'
    )
    field = StyleImageFolder(DATA / 'style_aid150')
    # every class has a dozen scenes in a row: fit on even ones, compare with odd ones
    fitted = EarthStyle.fit(Subset(field, range(0, len(field), 2)), networks.predictor)
    target = EarthStyle.fit(Subset(field, range(1, len(field), 2)), networks.predictor)
    print(f'AID fitted to AID held out: {style_distance(fitted, target):.3f} (the best possible)')

    source = StyleImageFolder(DATA / 'roads' / 'massachusetts')
    paths = [path for path in source.paths if path.parent.name == 'images']
    source.paths = [path for path in paths if path.parent.parent.name != 'test'][: args.images]
    images = torch.stack([to_unit(source[index]) for index in range(len(source))])
    own = torch.cat([networks.predictor(part) for part in images.split(16)])
    print(f'{len(images)} source images alone: {distance(own, target):.3f}')

    def styled(inject: StyleInjection) -> torch.Tensor:
        parts = [networks.predictor(inject(part)) for part in images.split(16)]
        return torch.cat(parts)

    common = {'p': 1.0}
    for patch_size, ratio in ((None, 1.0), (64, 0.7), (16, 0.3)):
        for alpha in args.alpha:
            inject = EarthStyleInjection(
                fitted,
                *networks,
                patch_size=patch_size,
                ratio=ratio,
                alpha=alpha,
                generator=torch.Generator().manual_seed(args.seed),
                **common,
            )
            report(
                f'EarthStyleInjection α {alpha:g}', patch_size, ratio, own, styled(inject), target
            )
    styles = torch.stack([field[index] for index in range(0, len(field), 2)])
    for beta in (0.0, 0.01):
        inject = FourierStyle(
            styles, beta=beta, generator=torch.Generator().manual_seed(args.seed), **common
        )
        report(f'FourierStyle β {beta:g}', None, 1.0, own, styled(inject), target)


def report(
    name: str,
    patch_size: int | None,
    ratio: float,
    own: torch.Tensor,
    styled: torch.Tensor,
    target: EarthStyle,
) -> None:
    where = 'whole images' if patch_size is None else f'B {patch_size}, τ {ratio:g}'
    print(
        f'{name}, {where}: source + injected {distance(torch.cat([own, styled]), target):.3f}, '
        f'injected alone {distance(styled, target):.3f}',
        flush=True,
    )


def distance(embeddings: torch.Tensor, target: EarthStyle) -> float:
    moments = StyleMoments.empty(embeddings.shape[1])
    moments.update(embeddings)
    return style_distance(EarthStyle(moments.mean, moments.covariance), target)


if __name__ == '__main__':
    main()
