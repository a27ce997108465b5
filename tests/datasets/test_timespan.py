import dataclasses

import numpy as np
import pandas as pd
import pytest

from crossearth.datasets import FileTimes, FolderDataset, SceneDataset, read_scene
from crossearth.datasets.timespan import ALWAYS, interval_of
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS

TICK = pd.Timedelta(1, 'us')


@pytest.mark.parametrize(
    ('span', 'start', 'stop'),
    [
        ('2021', '2021-01-01', '2022-01-01'),
        ('2021-12', '2021-12-01', '2022-01-01'),
        ('2020-02-29', '2020-02-29', '2020-03-01'),
        ('2021-06-30T10:15', '2021-06-30 10:15', '2021-06-30 10:16'),
        (('2021-06', '2021-08-10'), '2021-06-01', '2021-08-11'),
    ],
)
def test_a_span_is_all_of_what_it_names(span, start, stop):
    interval = interval_of(span)
    assert interval.left == pd.Timestamp(start)
    assert interval.right == pd.Timestamp(stop) - TICK
    assert interval.closed == 'both'
    assert interval_of(interval) == interval


def test_times_of_a_zone_are_kept_in_utc():
    assert interval_of('2021-06-30T02:15:00+02:00').left == pd.Timestamp('2021-06-30 00:15')
    moment = pd.Timestamp('2021-06-30 02:15', tz='Europe/Berlin')
    assert interval_of((moment, moment)).right == pd.Timestamp('2021-06-30 00:15')


@pytest.mark.parametrize(
    ('span', 'message'),
    [
        (('2021', '2020'), 'ends at 2020-12-31 .*before it begins at 2021-01-01'),
        ('last year', "'last year' is not a time"),
    ],
)
def test_spans_without_meaning_are_refused(span, message):
    with pytest.raises(ConfigError, match=message):
        interval_of(span)


def test_names_tell_a_date_or_a_start_and_a_stop():
    dates = FileTimes(r'.*_(?P<date>\d{8})', '%Y%m%d')
    day = dates.of('b/T33_20210630.tif')
    assert (day.left, day.right) == (pd.Timestamp('2021-06-30'), pd.Timestamp('2021-07-01') - TICK)
    spans = FileTimes(r'(?P<start>\d{4})-(?P<stop>\d{4})', '%Y')
    years = spans.of('2018-2020_crops.tif')
    assert (years.left.year, years.right.year) == (2018, 2020)
    with pytest.raises(ConfigError, match=r'b\.tif: the name does not match filename_regex'):
        dates.of('b.tif')
    with pytest.raises(ConfigError, match=r'not written as date_format=.%Y%m%d'):
        dates.of('b_20219930.tif')
    with pytest.raises(ConfigError, match=r'expected .*<date>'):
        FileTimes(r'\d+')
    with pytest.raises(ConfigError, match='not a regular expression'):
        FileTimes('(?P<date>')


@pytest.fixture
def folder(write_raster, tmp_path):
    for name in ('s_20200101', 's_20210601', 't_20210702'):
        write_raster(f'x/{name}.tif', np.ones((1, 8, 8), np.uint8))
    return tmp_path / 'x'


def test_folders_date_their_images_by_name_by_pattern_or_at_once(folder):
    by_name = FolderDataset(folder, labels=ISPRS, time=FileTimes(r'.*_(?P<date>\d{8})'))
    starts = [scene.time.left for scene in by_name.scenes]
    assert starts == [pd.Timestamp(day) for day in ('2020-01-01', '2021-06-01', '2021-07-02')]
    assert by_name.index.index.left.tolist() == starts
    patterns = {'s_2020*': '2020', '*': '2021'}
    by_pattern = FolderDataset(folder, labels=ISPRS, time=patterns)
    assert [scene.time.right.year for scene in by_pattern.scenes] == [2020, 2021, 2021]
    at_once = FolderDataset(folder, labels=ISPRS, time='2021')
    assert at_once.bounds[2].start == pd.Timestamp('2021-01-01')
    with pytest.raises(ConfigError, match=r't_20210702\.tif: matches none of the patterns of time'):
        FolderDataset(folder, labels=ISPRS, time={'s*': '2020'})


def test_scenes_keep_a_time_of_their_own_and_tell_it_in_seconds(folder):
    scene = read_scene(folder / 's_20200101.tif')
    assert SceneDataset([scene], ISPRS).index.index[0] == ALWAYS
    taken = interval_of('2020-01-01')
    data = SceneDataset([dataclasses.replace(scene, time=taken)], ISPRS)
    assert data.index.index[0] == taken
    assert data[0]['bounds'][6:].tolist() == pytest.approx([1577836800, 1577923199.999999, 1])
    assert SceneDataset(data.scenes, ISPRS, time='2022').scenes[0].time.left.year == 2022
