"""Decides which class a pixel of a mosaic gets where maps overlap."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, UInt16

from crossearth.errors import ConfigError
from crossearth.mosaic.reading import Seen

__all__ = ['Rule', 'by_rule', 'checked_rule']

type Rule = Literal['first', 'last', 'centre', 'majority', 'confidence', 'blend']

_STEP = 1 / 254  # rounding step of the probabilities of maps
_LEAST_NEARNESS = 1e-6  # above 0, so that the edge pixels of a map count where it is alone

type Chosen = tuple[UInt16[np.ndarray, 'h w'], Bool[np.ndarray, 'h w']]


def checked_rule(rule: str) -> Rule:
    """Check the name of a rule.

    Raises:
        ConfigError: If the rule does not exist.
    """
    known: tuple[Rule, ...] = get_args(Rule.__value__)
    if rule not in known:
        raise ConfigError(f'rule is {rule!r}: choose one of {", ".join(known)}')
    return known[known.index(rule)]


def by_rule(rule: Rule, seen: Iterable[Seen], *, shape: tuple[int, int]) -> Chosen:
    """The class of each pixel, and where any map has data.

    Args:
        rule: `'first'`: the first map that has data. `'last'`: the same, with the maps given from
            the last to the first. `'centre'`: the map whose edges are farthest away, relative to
            its sides, so that seams run through the middle of an overlap. `'confidence'`: the most
            confident map. `'majority'`: the class of most maps. `'blend'`: the class with the
            greatest mean probability, where a map counts less towards its edges. Ties go to the
            first map.
        seen: The maps in a window.
        shape: Height and width of the window.

    Example:
        >>> one, other = (
        ...     Seen(np.uint16([ids]), np.bool_([known]), np.float32([near]))
        ...     for ids, known, near in (
        ...         ([1, 1, 1], [1, 1, 0], [0.2, 0.9, 0.5]),
        ...         ([2, 2, 2], [1, 1, 1], [0.6, 0.6, 0.6]),
        ...     )
        ... )
        >>> for rule in ('first', 'centre'):
        ...     print(rule, by_rule(rule, [one, other], shape=(1, 3))[0].tolist())
        first [[1, 1, 2]]
        centre [[2, 1, 2]]
    """
    if rule == 'majority':
        return _majority(seen, shape)
    if rule == 'blend':
        return _blended(seen, shape)
    if rule == 'confidence':
        return _strongest(seen, shape, _confidence)
    if rule == 'centre':
        return _strongest(seen, shape, lambda one: one.nearness)
    # all equally strong: only a greater strength replaces a map, so the first one stays
    return _strongest(_until_full(seen, shape), shape, lambda one: np.zeros_like(one.nearness))


def _confidence(one: Seen) -> Float32[np.ndarray, 'h w']:
    assert one.confidence is not None
    return one.confidence


def _until_full(seen: Iterable[Seen], shape: tuple[int, int]) -> Iterator[Seen]:
    """Maps until every pixel has data, so that hidden maps are not read."""
    full = np.zeros(shape, bool)
    for one in seen:
        yield one
        full |= one.known
        if full.all():
            return


def _strongest(
    seen: Iterable[Seen],
    shape: tuple[int, int],
    strength: Callable[[Seen], Float32[np.ndarray, 'h w']],
) -> Chosen:
    chosen = np.zeros(shape, np.uint16)
    greatest = np.full(shape, -np.inf, np.float32)
    for one in seen:
        own = np.where(one.known, strength(one), np.float32(-np.inf))
        # False for −∞ against −∞, so pixels without data never replace anything
        better = own > greatest
        chosen[better] = one.ids[better]
        greatest[better] = own[better]
    return chosen, greatest > -np.inf


def _majority(seen: Iterable[Seen], shape: tuple[int, int]) -> Chosen:
    layers = list(seen)
    known = np.zeros(shape, bool)
    votes: dict[int, UInt16[np.ndarray, 'h w']] = {}
    for one in layers:
        known |= one.known
        for label in np.unique(one.ids[one.known]).tolist():
            votes.setdefault(label, np.zeros(shape, np.uint16))
            votes[label] += one.known & (one.ids == label)
    most = np.maximum.reduce([*votes.values(), np.zeros(shape, np.uint16)])
    chosen = np.zeros(shape, np.uint16)
    is_open = known.copy()
    for one in layers:  # ties between classes go to the one in the first map
        for label, count in votes.items():
            here = is_open & one.known & (one.ids == label) & (count == most)
            chosen[here] = label
            is_open &= ~here
    return chosen, known


def _blended(seen: Iterable[Seen], shape: tuple[int, int]) -> Chosen:
    sums: Float32[np.ndarray, 'k h w'] | None = None
    count = np.zeros(shape, np.uint16)
    alone = np.zeros(shape, np.uint16)
    for one in seen:
        assert one.probabilities is not None
        if sums is None:
            sums = np.zeros_like(one.probabilities)
        weight = np.maximum(one.nearness, _LEAST_NEARNESS) * one.known
        sums += weight * one.probabilities
        # rounding may change the order, so add half a step to a map's own class
        at = np.where(one.known, one.ids, 0).astype(np.int64)[None]
        own = np.take_along_axis(sums, at, 0) + weight * np.float32(_STEP / 2)
        np.put_along_axis(sums, at, own, 0)
        first = one.known & (count == 0)
        alone[first] = one.ids[first]
        count += one.known
    if sums is None:
        return alone, count > 0
    return np.where(count > 1, sums.argmax(0).astype(np.uint16), alone), count > 0
