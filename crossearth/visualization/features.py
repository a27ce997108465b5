"""Draws what a model sees: its features as points in the plane, or as the colours of a map.

`sample_features` takes points of images and their classes, `draw_features` shows several groups of
them together by PCA or UMAP (paper Figs. 7, 8 and 10), and `draw_feature_maps` colours the maps of
features (Figs. 9 and 11).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped, UInt8
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor, nn

from crossearth.errors import ConfigError, ShapeError
from crossearth.labels import IGNORE_INDEX, LabelSpace
from crossearth.models.features import STRIDES, Features
from crossearth.modes import evaluating
from crossearth.panels import displayed, new_figure
from crossearth.radiometry import to_unit
from crossearth.visualization.style import (
    INK,
    MARKERS,
    PAGE_INCHES,
    paper_style,
    series_colours,
)

__all__ = [
    'FeaturePoints',
    'Projection',
    'draw_feature_maps',
    'draw_features',
    'project_features',
    'sample_features',
]

type Projection = Literal['pca', 'umap']

_LEAST_POINTS = 3  # fewer have no plane
_TITLES = {'pca': 'principal component', 'umap': 'UMAP'}


class FeaturePoints(NamedTuple):
    """Features of labelled points.

    Args:
        values: Features, one row per point.
        classes: Class id of each point.
    """

    values: Float32[np.ndarray, 'n c']
    classes: Int64[np.ndarray, 'n']


def sample_features(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    *,
    level: int = -1,
    per_image: int = 100,
    seed: int = 0,
) -> FeaturePoints:
    """Features of random labelled points of images, with about as many of each class.

    A point is a cell of the feature map. Its class is that of the pixel in its middle.

    Args:
        model: A `Segmenter`, or any module whose `encode(images)` returns `Features`.
        batches: Mappings with `image` (b, c, h, w), integers or floats in [0, 1], and `mask`
            (b, h, w), where 255 means no class; a `DataLoader` gives them.
        level: Which of the four maps, fine to coarse.
        per_image: Points per image at most.
        seed: Of the choice of points.

    Raises:
        ConfigError: If a batch has no `image` or `mask`, nothing is labelled, or the model has no
            `encode`.
        ShapeError: If `level` is not one of the model's maps.
    """
    if per_image < 1:
        raise ConfigError(f'per_image is {per_image}: expected at least 1')
    generator = torch.Generator().manual_seed(seed)
    values, classes = [], []
    for batch in batches:
        if missing := {'image', 'mask'} - set(batch):
            raise ConfigError(
                f'a batch has {sorted(batch)} and no {" and no ".join(sorted(missing))}: points '
                'are chosen where the mask has classes'
            )
        maps = _encoded(model, batch['image'], level)
        ids = _classes_of_cells(batch['mask'].cpu(), maps.shape[-2:], STRIDES[level])
        for one, here in zip(maps, ids, strict=True):
            chosen = _balanced(here, per_image, generator)
            values.append(one.flatten(1)[:, chosen].T)
            classes.append(here.flatten()[chosen])
    if not sum(map(len, classes)):
        raise ConfigError(
            'the batches have no labelled points: every mask is 255 where features have cells'
        )
    return FeaturePoints(torch.cat(values).numpy(), torch.cat(classes).numpy())


def project_features(
    groups: Sequence[Float[np.ndarray, '_ c']], method: Projection = 'pca', *, seed: int = 0
) -> list[Float32[np.ndarray, '_ 2']]:
    """Positions of features in one plane that all groups share.

    Args:
        groups: Features of each group, such as those of a domain.
        method: `'pca'`, the two directions in which all points together vary most, or `'umap'`,
            which keeps neighbours together (McInnes et al. 2018) and needs `crossearth[viz]`.
        seed: Of UMAP. The positions are the same each time.

    Returns:
        One array per group, (points, 2).

    Raises:
        ConfigError: If there are too few points, a value is not finite, the method is unknown, or
            `umap-learn` is not installed.
        ShapeError: If groups differ in their number of channels.

    Example:
        >>> line = np.array([[0.0, 0, 0], [3, 4, 0]])
        >>> here, there = project_features([line, line + np.array([6, 8, 0])])
        >>> np.abs(np.diff(np.concatenate([here, there])[:, 0])).round(3).tolist()
        [5.0, 5.0, 5.0]
    """
    if len(widths := {group.shape[1] for group in groups}) > 1:
        raise ShapeError(
            f'groups have {sorted(widths)} channels: expected features of one level of one model'
        )
    count = sum(map(len, groups))
    if count < _LEAST_POINTS:
        raise ConfigError(f'{count} points: expected at least {_LEAST_POINTS} to draw a plane')
    together = np.concatenate(list(groups)).astype(np.float32)
    if not np.isfinite(together).all():
        raise ConfigError('some features are not finite: the model is broken, or its input')
    if method == 'pca':
        positions = _principal(together, 2)
    elif method == 'umap':
        positions = _umap(together, seed)
    else:
        raise ConfigError(f"method is {method!r}: choose 'pca' or 'umap'")
    ends = np.cumsum([len(group) for group in groups])[:-1]
    return np.split(positions, ends)


def draw_features(
    groups: Mapping[str, FeaturePoints],
    labels: LabelSpace,
    *,
    by: Literal['class', 'group'] = 'class',
    method: Projection = 'pca',
    seed: int = 0,
    title: str = '',
) -> Figure:
    """Features of several groups, such as domains, as points of one plane.

    Args:
        groups: Name of each group → its points, from `sample_features` with the same model.
        labels: Names and colours of the classes.
        by: `'class'` colours points by class and gives each group its marker; `'group'` colours
            them by group.
        method: How features become positions, see `project_features`.
        seed: Of UMAP.
        title: Line above the figure.

    Returns:
        A figure in the style of a paper. Distances and axes have no unit.

    Raises:
        ConfigError: If a point's class is not in `labels`, or as `project_features` says.

    Example:
        >>> from crossearth.labels import ISPRS
        >>> points = FeaturePoints(np.eye(4, dtype=np.float32), np.arange(4))
        >>> len(draw_features({'here': points}, ISPRS).axes[0].collections)
        1
    """
    if by not in ('class', 'group'):
        raise ConfigError(f"by is {by!r}: choose 'class' or 'group'")
    present = sorted({int(one) for points in groups.values() for one in points.classes})
    if strangers := [one for one in present if one >= labels.num_classes]:
        raise ConfigError(
            f'points have class {strangers[0]}, but {labels.name} has the classes 0 to '
            f'{labels.num_classes - 1}: pass the label space of the masks'
        )
    names = list(groups)
    positions = project_features([groups[name].values for name in names], method, seed=seed)
    palette = np.array(labels.palette) / 255
    own = series_colours(names)
    with paper_style():
        figure = new_figure(PAGE_INCHES * 0.6, PAGE_INCHES * 0.5)
        axes = figure.add_subplot()
        for number, (name, place) in enumerate(zip(names, positions, strict=True)):
            axes.scatter(
                place[:, 0],
                place[:, 1],
                s=9,
                c=palette[groups[name].classes] if by == 'class' else own[name],
                marker=MARKERS[number % len(MARKERS)],
                edgecolors=INK,
                linewidths=0.2,
                label=name,
            )
        axes.set(xticks=[], yticks=[], xlabel=f'{_TITLES[method]} 1', ylabel=f'{_TITLES[method]} 2')
        figure.legend(
            handles=_legend(names, labels, present, own, by),
            loc='outside right upper',
            frameon=False,
        )
        if title:
            figure.suptitle(title)
    return figure


def draw_feature_maps(
    model: nn.Module,
    images: Shaped[Tensor, 'b c h w'],
    *,
    level: int = 2,
    names: Sequence[str] = (),
) -> Figure:
    """Images above their feature maps, whose first three principal components are red, green, blue.

    The components and the colours are common to all images, so the same colour means the same
    feature in each of them.

    Args:
        model: A `Segmenter`, or any module whose `encode(images)` returns `Features`.
        images: Integers, or floats in [0, 1]; the first three bands are shown.
        level: Which of the four maps, fine to coarse.
        names: Titles of the images.

    Raises:
        ConfigError: If there are not as many names as images, or the model has no `encode`.
        ShapeError: If `level` is not one of the model's maps.
    """
    if names and len(names) != len(images):
        raise ConfigError(f'{len(names)} names for {len(images)} images: expected one for each')
    maps = _encoded(model, images, level)
    rows = maps.movedim(1, -1).reshape(-1, maps.shape[1]).numpy()
    coloured = _principal(rows, 3).reshape(len(maps), *maps.shape[-2:], 3)
    shown: UInt8[np.ndarray, '3 b h w'] = np.stack(
        [displayed(band[None])[0] for band in np.moveaxis(coloured, -1, 0)]
    )
    pictures = displayed(
        to_unit(images).cpu().numpy()[:, [0, 1, 2] if images.shape[1] > 2 else [0]]
    )
    with paper_style():
        width = min(PAGE_INCHES, 1.8 * len(images))
        figure = new_figure(width, 2 * width / len(images) + 0.3)
        grid = figure.subplots(2, len(images), squeeze=False)
        for column, (above, below) in enumerate(zip(*grid, strict=True)):
            above.imshow(pictures[column].transpose(1, 2, 0), cmap='gray')
            below.imshow(shown[:, column].transpose(1, 2, 0))
            above.set_title(names[column] if names else '')
            for axes in (above, below):
                axes.set_axis_off()
    return figure


@torch.no_grad()
def _encoded(model: nn.Module, images: Tensor, level: int) -> Float32[Tensor, 'b c h w']:
    """One level of a model's features of images, on the CPU."""
    encode = getattr(model, 'encode', None)
    if encode is None:
        raise ConfigError(
            f'{type(model).__name__} has no encode(images): pass a Segmenter, or a module whose '
            'encode returns Features'
        )
    device = next((one.device for one in model.parameters()), torch.device('cpu'))
    with evaluating(model):
        features = encode(to_unit(images).to(device))
    maps = features.maps if isinstance(features, Features) else features
    if not -len(maps) <= level < len(maps):
        raise ShapeError(
            f'level is {level}, but the model has {len(maps)} maps: choose one of them'
        )
    chosen: Tensor = maps[level].float().cpu()
    return chosen


def _classes_of_cells(
    mask: Int64[Tensor, 'b h w'], size: torch.Size, stride_px: int
) -> Int64[Tensor, 'b i j']:
    """Class of the pixel in the middle of each cell, 255 where the image was padded."""
    rows, cols = (torch.arange(length) * stride_px + stride_px // 2 for length in size)
    ids = mask.new_full((len(mask), *size), IGNORE_INDEX)
    inside = mask[:, rows[rows < mask.shape[1]]][:, :, cols[cols < mask.shape[2]]]
    ids[:, : inside.shape[1], : inside.shape[2]] = inside
    return ids


def _balanced(
    ids: Int64[Tensor, 'i j'], count: int, generator: torch.Generator
) -> Int64[Tensor, 'n']:
    """Random labelled cells, whose classes are drawn with equal chances."""
    flat = ids.flatten()
    labelled = (flat != IGNORE_INDEX).nonzero()[:, 0]
    if not len(labelled):
        return labelled
    counts = flat[labelled].bincount()
    chances = 1 / counts[flat[labelled]].double()
    taken = torch.multinomial(chances, min(count, len(labelled)), generator=generator)
    return labelled[taken]


def _principal(rows: Float32[np.ndarray, 'n c'], count: int) -> Float32[np.ndarray, 'n k']:
    """Coordinates along the directions of largest variance; zeros if there are too few."""
    centred = rows - rows.mean(0)
    # Of the product of channels instead of all rows: there are far fewer channels than points.
    _, axes = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    axes = axes[:, ::-1][:, :count]
    axes *= np.sign(axes[np.abs(axes).argmax(0), range(axes.shape[1])])  # the same each time
    found = centred @ axes
    return np.pad(found, ((0, 0), (0, count - found.shape[1]))).astype(np.float32)


def _umap(rows: Float32[np.ndarray, 'n c'], seed: int) -> Float32[np.ndarray, 'n 2']:
    try:
        from umap import UMAP
    except ImportError as error:
        raise ConfigError(
            "method='umap' needs umap-learn: pip install 'crossearth[viz]', or use 'pca'"
        ) from error
    neighbours = min(15, len(rows) - 1)  # 15 is UMAP's default
    # random starting positions where there are too few points for the spectral ones
    init = 'spectral' if len(rows) > 4 else 'random'
    # With a seed UMAP runs in one thread anyway, and warns if it is not told to.
    found: Float32[np.ndarray, 'n 2'] = UMAP(
        n_neighbors=neighbours, random_state=seed, n_jobs=1, init=init
    ).fit_transform(rows)
    return found


def _legend(
    names: Sequence[str],
    labels: LabelSpace,
    present: Sequence[int],
    own: Mapping[str, str],
    by: str,
) -> list[Line2D | Patch]:
    """Markers of the groups, and colours of the classes if points are coloured by class."""
    groups = [
        Line2D(
            [],
            [],
            linestyle='',
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            markerfacecolor='white' if by == 'class' else own[name],
            markeredgecolor=INK,
            markeredgewidth=0.4,
            label=name,
        )
        for number, name in enumerate(names)
    ]
    if by == 'group':
        return [*groups]
    colours = ['#' + bytes(labels.palette[one]).hex() for one in present]
    return [
        *groups,
        *(
            Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=labels.classes[one])
            for one, colour in zip(present, colours, strict=True)
        ),
    ]
