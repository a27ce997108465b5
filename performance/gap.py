"""How much of the gap between two places is size, colour and sharpness? Removes each in turn.

    python performance/gap.py evidence/roads --experiment performance/roads.yaml --method plain

Takes the models that an experiment has trained. They see the images of each unseen domain

- in their own size,
- at the ground sampling distance of training; where one of the two is not known, at that of some
  sizes which the labels say is best (an oracle),
- there, with the mean and covariance of their colours changed to those of the source,
- there, with their spectrum (the mean amplitude at each frequency) changed to that of the source,
- with both changes.

Colours and spectra are those of whole domains, from all images that are scored. No labels are used
for them, but nobody could map this way without having all images first. So this only analyses the
gap and does not close it. What remains after all changes is called place: what roads look like
there, how they were drawn, and everything that mean colours and mean spectra do not capture.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from crossearth.benchmark import read_experiment
from crossearth.benchmark.cases import open_dataset
from crossearth.benchmark.results import mean_and_sd
from crossearth.datasets import SceneDataset
from crossearth.metrics import confusion_matrix, iou_per_class
from crossearth.models import load_model
from crossearth.radiometry import to_unit

BINS = 32  # of the spectrum, from 0 to half the sampling rate
MOST_GAIN = 4.0  # limit of the filter that changes a spectrum, so that noise is not amplified
ORACLE_SIZES = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)

type Images = list[Float[Tensor, 'c h w']]
type Change = Callable[[Float[Tensor, 'c h w']], Float[Tensor, 'c h w']]


def read(dataset: SceneDataset) -> Images:
    """All images of a dataset, in [0, 1]."""
    return [to_unit(dataset[i]['image'][None])[0] for i in range(len(dataset))]


def resize(image: Float[Tensor, 'c h w'], factor: float) -> Float[Tensor, 'c h w']:
    """The image with `factor` times the pixels along each axis."""
    size = [max(32, round(side * factor)) for side in image.shape[-2:]]
    return F.interpolate(image[None], size, mode='bilinear', antialias=True)[0]


def colour_change(images: Images, like: Images) -> Change:
    """The linear map of colours that gives the mean and covariance of other images."""

    def statistics(of: Images) -> tuple[Tensor, Tensor]:
        pixels = torch.cat([image.flatten(1) for image in of], dim=1).double()
        return pixels.mean(1), torch.cov(pixels)

    def root(matrix: Tensor, power: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.clamp(min=1e-8) ** power) @ vectors.T

    (mean, cov), (wanted_mean, wanted_cov) = statistics(images), statistics(like)
    matrix = (root(wanted_cov, 0.5) @ root(cov, -0.5)).float()
    mean, wanted_mean = mean.float(), wanted_mean.float()

    def change(image: Tensor) -> Tensor:
        flat = matrix @ (image.flatten(1) - mean[:, None]) + wanted_mean[:, None]
        return flat.view_as(image).clamp(0, 1)

    return change


def spectrum(images: Images) -> Float[Tensor, ' b']:
    """Mean power of the contrast at each frequency, over all images and bands."""
    total, count = torch.zeros(BINS), 0
    for image in images:
        contrast = image - image.mean((1, 2), keepdim=True)
        window = [torch.hann_window(side, periodic=False) for side in image.shape[-2:]]
        power = torch.fft.rfft2(contrast * window[0][:, None] * window[1]).abs().square().mean(0)
        power = power / image[0].numel() ** 2
        bins = frequency(image).clamp(max=0.4999).mul(2 * BINS).long()
        sums = torch.zeros(BINS).scatter_add_(0, bins.flatten(), power.flatten())
        number = torch.zeros(BINS).scatter_add_(0, bins.flatten(), torch.ones_like(power).flatten())
        total += sums / number.clamp(min=1) * image[0].numel()
        count += 1
    return total / count


def frequency(image: Float[Tensor, 'c h w']) -> Float[Tensor, 'h f']:
    """Cycles per pixel of each coefficient of `rfft2`."""
    rows = torch.fft.fftfreq(image.shape[-2])[:, None]
    cols = torch.fft.rfftfreq(image.shape[-1])
    return (rows.square() + cols.square()).sqrt()


def sharpness_change(images: Images, like: Images) -> Change:
    """The filter that gives the spectrum of other images, at the same overall contrast."""
    ours, wanted = spectrum(images), spectrum(like)
    gain = (wanted / wanted.sum() / (ours / ours.sum()).clamp(min=1e-12)).sqrt()
    gain = (gain / gain[:2].mean()).clamp(1 / MOST_GAIN, MOST_GAIN)

    def change(image: Tensor) -> Tensor:
        place = (frequency(image) * 2 * BINS - 0.5).clamp(0, BINS - 1)
        low = place.floor().long()
        high = (low + 1).clamp(max=BINS - 1)
        share = place - low
        factor = gain[low] * (1 - share) + gain[high] * share
        mean = image.mean((1, 2), keepdim=True)
        filtered = torch.fft.irfft2(torch.fft.rfft2(image - mean) * factor, s=image.shape[-2:])
        return (filtered + mean).clamp(0, 1)

    return change


@torch.inference_mode()
def score(model: nn.Module, dataset: SceneDataset, images: Images, factor: float) -> float:
    """IoU of the scored class in percent, in the images' own pixels."""
    k = dataset.labels.num_classes
    total = torch.zeros((k, k), dtype=torch.int64)
    for i, image in enumerate(images):
        mask = dataset[i]['mask']
        seen = image[None]
        logits = model(seen)
        if factor != 1:
            logits = F.interpolate(logits, mask.shape, mode='bilinear', align_corners=False)
        total += confusion_matrix(logits.argmax(1)[0], mask, num_classes=k)
    scored = dataset.labels.scored or tuple(range(k))
    return 100 * float(np.mean([iou_per_class(total)[c] for c in scored]))


def gsd_of(dataset: SceneDataset) -> float | None:
    """Ground sampling distance of a dataset in metres, if it is known."""
    known = dataset.gsd_range_m
    return None if known is None else float(np.sqrt(known[0] * known[1]))


def models(folder: Path, source: str, method: str) -> Sequence[Path]:
    """The models that a method has trained, one per seed."""
    found = sorted(folder.glob(f'trainings/{source}/{method}-????????/seed*/model.safetensors'))
    if not found:
        raise SystemExit(f'{folder} has no model of {method} trained in {source}')
    return found


def oracle_factor(models: Sequence[nn.Module], dataset: SceneDataset, images: Images) -> float:
    """The factor at which the first model is best, by the labels."""
    scores = {
        by: score(models[0], dataset, [resize(image, by) for image in images], by)
        for by in ORACLE_SIZES
    }
    return max(scores, key=scores.__getitem__)


def take_apart(folder: Path, experiment: Path, method: str, source: str, most: int) -> None:
    """Print one line per unseen domain."""
    domains = read_experiment(experiment).domains
    trained = open_dataset(domains[source]['train'])
    like = read(trained)
    own_gsd = gsd_of(trained)
    found = [load_model(path).eval() for path in models(folder, source, method)[:most]]
    number = f'mean of {len(found)} models ± standard deviation' if len(found) > 1 else 'one model'
    print(f'{method}, trained in {source}: {number}')
    print('| unseen | own size | right size | and colour | and sharpness | and both |')
    print('|---|---|---|---|---|---|')
    for name, roles in domains.items():
        if name == source or 'test' not in roles:
            continue
        dataset = open_dataset(roles['test'])
        images = read(dataset)
        gsd = gsd_of(dataset)
        if gsd is None or own_gsd is None:
            factor = oracle_factor(found, dataset, images)
            note = f' (oracle, × {factor:g})'
        else:
            factor, note = gsd / own_gsd, ''
        sized = [resize(image, factor) for image in images] if factor != 1 else images
        colour, sharpness = colour_change(sized, like), sharpness_change(sized, like)
        sharp = [sharpness(image) for image in sized]
        colour_of_sharp = colour_change(sharp, like)
        cells = []
        for seen, by in (
            (images, 1.0),
            (sized, factor),
            ([colour(image) for image in sized], factor),
            (sharp, factor),
            ([colour_of_sharp(image) for image in sharp], factor),
        ):
            mean, sd = mean_and_sd([score(model, dataset, seen, by) for model in found])
            cells.append(f'{mean:.1f} ± {sd:.1f}' if len(found) > 1 else f'{mean:.1f}')
        cells[1] += note
        print(f'| {name} | {" | ".join(cells)} |', flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='output of crossearth experiment run')
    parser.add_argument('--experiment', type=Path, required=True)
    parser.add_argument('--method', default='plain')
    parser.add_argument('--source', default='massachusetts')
    parser.add_argument('--models', type=int, default=5, help='maximum number of seeds')
    args = parser.parse_args()
    torch.set_num_threads(1)
    take_apart(args.folder, args.experiment, args.method, args.source, args.models)


if __name__ == '__main__':
    main()
