"""Connected regions of equal labels, within strips of a map and across their seams."""

import numpy as np
from jaxtyping import Bool, Integer
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ['components', 'groups', 'seam_links']

type Links = tuple[Integer[np.ndarray, ' n'], Integer[np.ndarray, ' n']]


def components(
    labels: Integer[np.ndarray, 'h w'], *, connectivity: int
) -> tuple[Integer[np.ndarray, 'h w'], int]:
    """Number the connected regions of equal labels.

    Args:
        labels: Labels.
        connectivity: 4, or 8 with diagonals.

    Returns:
        The number of each pixel's region, and how many regions there are.

    Example:
        >>> components(np.array([[1, 2], [2, 1]]), connectivity=8)[0].tolist()
        [[0, 1], [1, 0]]
    """
    # the graph joins runs along rows, not pixels, because there are far fewer of them
    starts = _starts(labels)
    runs = np.cumsum(starts.ravel(), dtype=np.int32).reshape(labels.shape) - 1
    upper, lower = _links(labels, runs, starts, connectivity=connectivity)
    of_run, number = groups(upper, lower, int(runs[-1, -1]) + 1)
    return of_run[runs], number


def seam_links(
    labels: Integer[np.ndarray, '2 w'], ids: Integer[np.ndarray, '2 w'], *, connectivity: int
) -> Links:
    """Pairs of regions with equal labels that touch across the seam between two rows.

    Args:
        labels: Labels of both rows.
        ids: Region of each pixel.
        connectivity: 4, or 8 with diagonals.
    """
    return _links(labels, ids, _starts(labels), connectivity=connectivity)


def groups(
    one: Integer[np.ndarray, ' n'], other: Integer[np.ndarray, ' n'], number: int
) -> tuple[Integer[np.ndarray, ' k'], int]:
    """Groups of items that are connected by links: the group of each item, and their number."""
    links = coo_array((np.ones(len(one), bool), (one, other)), (number, number))
    count, found = connected_components(links, directed=False)
    return found, int(count)


def _starts(labels: Integer[np.ndarray, 'h w']) -> Bool[np.ndarray, 'h w']:
    """Where runs of equal labels start along the rows."""
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return starts


def _links(
    labels: Integer[np.ndarray, 'h w'],
    ids: Integer[np.ndarray, 'h w'],
    starts: Bool[np.ndarray, 'h w'],
    *,
    connectivity: int,
) -> Links:
    """Pairs of touching runs with equal labels in neighbouring rows, mostly without repeats.

    Where neither run starts, the pixels to the left have already shown that the two touch.
    """
    above, below, upper, lower = labels[:-1], labels[1:], ids[:-1], ids[1:]
    touch = (above == below) & (starts[:-1] | starts[1:])
    one, other = [upper[touch]], [lower[touch]]
    if connectivity == 8:
        begins = starts[1:, 1:]  # where no run begins, it only touches the pixel right above
        right = (above[:, :-1] == below[:, 1:]) & begins
        left = (above[:, 1:] == below[:, :-1]) & begins
        one += [upper[:, :-1][right], upper[:, 1:][left]]
        other += [lower[:, 1:][right], lower[:, :-1][left]]
    return np.concatenate(one), np.concatenate(other)
