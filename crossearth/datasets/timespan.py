"""When scenes were taken: intervals, as torchgeo's index and slices have them."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pandas as pd
from torchgeo.datasets.utils import disambiguate_timestamp

from crossearth.datasets.scene import Scene
from crossearth.errors import ConfigError

__all__ = ['ALWAYS', 'FileTimes', 'Times', 'dated', 'interval_of', 'span_of']

ALWAYS = pd.Interval(pd.Timestamp.min, pd.Timestamp.max, closed='both')
"""The interval of undated scenes."""

# torchgeo ends its intervals one microsecond before the next one begins
_TICK = pd.Timedelta(1, 'us')
_WHOLE_DAYS = ('Y-DEC', 'Q-DEC', 'M', 'D')

type Span = str | date | pd.Timestamp | pd.Interval | tuple[str | date, str | date]


@dataclass(frozen=True, slots=True)
class FileTimes:
    r"""Times in file names, found as torchgeo's datasets find them.

    Args:
        filename_regex: Regular expression (verbose) that matches the beginning of each image's
            name, with a group `date`, or groups `start` and `stop`.
        date_format: Format of the groups, in the codes of `strptime`. A date stands for the whole
            day, a month for all of its days.

    Raises:
        ConfigError: If the expression is invalid, or lacks the groups.

    Example:
        >>> times = FileTimes(r'.*_(?P<date>\d{6})', '%Y%m')
        >>> times.of('images/T33UVU_202106_rgb.tif')
        Interval(2021-06-01 00:00:00, 2021-06-30 23:59:59.999999, closed='both')
    """

    filename_regex: str
    date_format: str = '%Y%m%d'

    def __post_init__(self) -> None:
        try:
            groups = set(re.compile(self.filename_regex, re.VERBOSE).groupindex)
        except re.error as error:
            raise ConfigError(
                f'filename_regex={self.filename_regex!r} is not a regular expression: {error}'
            ) from error
        if not ('date' in groups or {'start', 'stop'} <= groups):
            raise ConfigError(
                f'filename_regex={self.filename_regex!r} has groups {sorted(groups)}: expected '
                '(?P<date>...), or (?P<start>...) and (?P<stop>...)'
            )

    def of(self, path: str | os.PathLike[str]) -> pd.Interval:
        """The interval in a file's name.

        Raises:
            ConfigError: If the name does not match, or its date is invalid.
        """
        found = re.match(self.filename_regex, Path(path).name, re.VERBOSE)
        if found is None:
            raise ConfigError(
                f'{os.fspath(path)}: the name does not match filename_regex='
                f'{self.filename_regex!r}: correct the expression, or pass time={{pattern: '
                'interval}'
            )
        parts = found.groupdict()
        first, last = (
            (parts['date'], parts['date'])
            if parts.get('date') is not None
            else (parts['start'], parts['stop'])
        )
        try:
            start, _ = disambiguate_timestamp(first, self.date_format)
            _, stop = disambiguate_timestamp(last, self.date_format)
        except (ValueError, TypeError) as error:
            raise ConfigError(
                f'{os.fspath(path)}: its date is not written as date_format='
                f'{self.date_format!r}: {error}'
            ) from error
        return _between(start, stop, os.fspath(path))


type Times = Span | FileTimes | Mapping[str, Span]


def interval_of(span: Span) -> pd.Interval:
    """A span of time as an interval that includes both ends, in UTC without a zone.

    Args:
        span: A year, month, day or time (`'2021'`, `'2021-06'`, `'2021-06-30'`), which stands for
            all of itself; a pair of them, from the first's start to the second's end; or a pandas
            interval.

    Raises:
        ConfigError: If it is not a span of time, or ends before it begins.

    Example:
        >>> interval_of(('2021-06', '2021-08'))
        Interval(2021-06-01 00:00:00, 2021-08-31 23:59:59.999999, closed='both')
    """
    if isinstance(span, pd.Interval):
        return _between(_moment(span.left), _moment(span.right), span)
    first, last = span if isinstance(span, tuple) else (span, span)
    return _between(_ends(first)[0], _ends(last)[1], span)


def span_of(part: slice, taken: pd.Interval) -> pd.Interval:
    """The interval of a slice in time; open ends are those of the scenes' times.

    Raises:
        ConfigError: If it has a step, or is not a span of time.
    """
    if part.step not in (None, 1):
        raise ConfigError(
            f'slice asks for every {part.step}th scene in time: leave the step out, and choose '
            'scenes by their interval'
        )
    start = taken.left if part.start is None else _ends(part.start)[0]
    stop = taken.right if part.stop is None else _ends(part.stop)[1]
    return _between(start, stop, part)


def dated(scenes: Sequence[Scene], times: Times | None) -> list[Scene]:
    """Scenes with their intervals.

    Args:
        scenes: Scenes; those that have a time keep it if `times` is None.
        times: One span for all, spans by patterns of image names of which the first match counts,
            or `FileTimes`; None for none.

    Raises:
        ConfigError: If a span or name is invalid, or a name matches no pattern.
    """
    if times is None:
        return list(scenes)
    if isinstance(times, FileTimes):
        return [dataclasses.replace(scene, time=times.of(scene.image)) for scene in scenes]
    if not isinstance(times, Mapping):
        interval = interval_of(times)
        return [dataclasses.replace(scene, time=interval) for scene in scenes]
    intervals = {pattern: interval_of(span) for pattern, span in times.items()}
    made = []
    for scene in scenes:
        fitting = [found for name, found in intervals.items() if Path(scene.image).match(name)]
        if not fitting:
            raise ConfigError(
                f'{scene.image}: matches none of the patterns of time, {list(times)}; add one'
            )
        made.append(dataclasses.replace(scene, time=fitting[0]))
    return made


def _ends(moment: str | date | pd.Timestamp) -> tuple[pd.Timestamp, pd.Timestamp]:
    """First and last moment of a year, a month, a day, or a time."""
    if not isinstance(moment, str):
        return _moment(moment), _moment(moment)
    try:
        period = pd.Period(moment)
    except ValueError:
        return _moment(moment), _moment(moment)  # raises the error that names the remedy
    if period.freqstr not in _WHOLE_DAYS and pd.Timestamp(moment).tzinfo is not None:
        return _moment(moment), _moment(moment)  # a pandas period would lose the time zone
    return period.start_time, (period + 1).start_time - _TICK


def _moment(moment: str | date | pd.Timestamp) -> pd.Timestamp:
    try:
        at = pd.Timestamp(moment)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"{moment!r} is not a time: expected one such as '2021', '2021-06-30' or "
            "'2021-06-30T10:15:00'"
        ) from error
    if at is pd.NaT:
        raise ConfigError('a time is missing (NaT): expected a time, or None if it is not known')
    return at if at.tzinfo is None else at.tz_convert('UTC').tz_localize(None)


def _between(start: pd.Timestamp, stop: pd.Timestamp, given: object) -> pd.Interval:
    if stop < start:
        raise ConfigError(f'{given!r} ends at {stop}, before it begins at {start}: swap them')
    return pd.Interval(start.as_unit('ns'), stop.as_unit('ns'), closed='both')
