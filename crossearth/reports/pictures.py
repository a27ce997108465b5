"""Finds the pictures of a report, from archives and the label maps of runs on them."""

from collections.abc import Callable, Sequence
from pathlib import Path

from crossearth.benchmark import SETTINGS, Files, RunResult
from crossearth.datasets import SceneDataset
from crossearth.errors import CrossEarthError, SceneNotFoundError
from crossearth.reports.data import ReportData
from crossearth.reports.examples import DomainPictures, Missing, domain_pictures

__all__ = ['find_pictures', 'published_images']

type OpenImages = Callable[[str], SceneDataset | None]


def published_images(files: Files | None) -> OpenImages:
    """A function that opens the unseen domain of a published setting.

    Args:
        files: Paths of the archives; None if unknown, so that nothing is opened.
    """

    def opened(domain: str) -> SceneDataset | None:
        setting = SETTINGS.get(domain)
        if setting is None or files is None:
            return None
        target = setting.target
        return target.open(files.root(target), 'test', **files.options(target))

    return opened


def find_pictures(
    results: Sequence[RunResult],
    data: ReportData,
    *,
    predictions: Path,
    open_images: OpenImages,
) -> list[DomainPictures | Missing]:
    """Find examples of each domain, or what is missing to make them.

    Args:
        results: The results.
        data: Their numbers; methods with the highest score come first.
        predictions: Folder that was given to `--save-predictions`.
        open_images: Opens the labelled images of a domain, or returns None if it does not know
            the domain, see `published_images`.
    """
    return [
        _of_domain(domain, results, data, predictions, open_images)
        for domain in dict.fromkeys(data.scores.domain)
    ]


def _of_domain(
    domain: str,
    results: Sequence[RunResult],
    data: ReportData,
    predictions: Path,
    open_images: OpenImages,
) -> DomainPictures | Missing:
    last = data.scores[(data.scores.domain == domain) & ~data.scores.kind.str.endswith('oracle')]
    ranked = last.sort_values('mean', ascending=False, kind='stable')
    maps: dict[str, Path] = {}
    lacking: dict[str, None] = {}
    for row in ranked.itertuples():
        seeds = sorted(
            result.seed
            for result in results
            if (result.setting, result.fingerprint) == (domain, row.fingerprint)
        )
        method = row.method.removesuffix(f' [{row.fingerprint}]')
        folder = _maps_folder(predictions / domain / f'{method}-{row.fingerprint}', seeds)
        if folder is None:
            lacking[row.method] = None
        else:
            maps.setdefault(row.method, folder)
    if not maps:
        return Missing(
            domain,
            f'there are no label maps of it in {predictions}',
            'run or score it again with this option; finished training runs are not repeated',
            f"crossearth benchmark run '{domain}' … --save-predictions {predictions}",
        )
    try:
        dataset = open_images(domain)
    except SceneNotFoundError as error:
        return Missing(domain, str(error), 'give the folder of the archives with --root')
    except CrossEarthError as error:
        return Missing(
            domain,
            str(error),
            'if the class of its dataset lies next to the experiment, run the command there',
        )
    if dataset is None:
        return Missing(
            domain,
            'its label maps are there, but not its images',
            'give the folder of the archives',
            'crossearth benchmark report … --root ARCHIVES',
        )
    return domain_pictures(domain, dataset, maps, lacking=list(lacking))


def _maps_folder(folder: Path, seeds: Sequence[int]) -> Path | None:
    """The maps of the first seed. Maps of a model that was not trained here have no seed."""
    of_seeds = [folder / f'seed{seed}' for seed in seeds if (folder / f'seed{seed}').is_dir()]
    if of_seeds:
        return of_seeds[0]
    return folder if folder.is_dir() else None
