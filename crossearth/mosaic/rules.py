"""Which class a pixel of a mosaic has where several maps have one."""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, UInt16

from crossearth.errors import ConfigError
from crossearth.mosaic.reading import Seen

__all__ = ['Rule', 'by_rule', 'checked_rule']

type Rule = Literal['first', 'last', 'centre', 'majority', 'confidence', 'blend']

_STEP = 1 / 254  # of the probabilities of maps
_LEAST_NEARNESS = 1e-6  # so that the outermost pixels of a map have a say where it is alone

type Chosen = tuple[UInt16[np.ndarray, 'h w'], Bool[np.ndarray, 'h w']]


def checked_rule(rule: str) -> Rule:
    """A rule by its name.

    Raises:
        ConfigError: If there is no such rule.
    """
    known: tuple[Rule, ...] = get_args(Rule.__value__)
    if rule not in known:
        raise ConfigError(f'rule is {rule!r}: choose one of {", ".join(known)}')
    return known[known.index(rule)]


def by_rule(rule: Rule, seen: Iterable[Seen], *, shape: tuple[int, int]) -> Chosen:
    """The class of each pixel, and where any map has data.

    Args:
        rule: `'first'`: the first map that has data, in the order that they are seen; `'last'`,
            for which maps are to be seen from the last one, likewise. `'centre'`: the map whose
            edges are farthest away, counted in its sides, so that seams run through the middle of
            an overlap. `'confidence'`: the map that is most
            confident. `'majority'`: the class that most maps have. `'blend'`: the class with the
            greatest mean probability, in which a map counts less towards its edges. Of equals the
            first map decides.
        seen: The maps in a window.
        shape: Of the window.

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
    return _strongest(_until_full(seen, shape), shape, lambda one: np.zeros_like(one.nearness))


def _confidence(one: Seen) -> Float32[np.ndarray, 'h w']:
    assert one.confidence is not None
    return one.confidence


def _until_full(seen: Iterable[Seen], shape: tuple[int, int]) -> Iterator[Seen]:
    """Maps until every pixel has data: those below are not read."""
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
    for one in layers:  # of classes with as many votes, that of the first map
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
        # probabilities are rounded: half a step for its own class, that a map agrees with itself
        at = np.where(one.known, one.ids, 0).astype(np.int64)[None]
        own = np.take_along_axis(sums, at, 0) + weight * np.float32(_STEP / 2)
        np.put_along_axis(sums, at, own, 0)
        first = one.known & (count == 0)
        alone[first] = one.ids[first]
        count += one.known
    if sums is None:
        return alone, count > 0
    return np.where(count > 1, sums.argmax(0).astype(np.uint16), alone), count > 0
