"""Summaries of results against numbers that were computed by hand."""

import json
import math
from array import array
from dataclasses import replace

import pytest

from crossearth.benchmark import (
    PATCHES_PX,
    SETTINGS,
    TAUS,
    Protocol,
    RunResult,
    load_results,
    published_score,
    summarise,
    sweep_scores,
    sweep_variations,
    training_recipe,
)
from crossearth.datasets import Coverage
from crossearth.errors import ConfigError
from crossearth.labels import BUILDING, ISPRS

CHIPS = Protocol(window_px=512, stride_px=341, chip_px=512)


def result(setting, method, seed, confusion, **changes):
    labels = BUILDING if len(confusion) == 2 else ISPRS
    made = RunResult(
        setting=setting,
        source=SETTINGS[setting].source.name if setting in SETTINGS else 'here',
        target=SETTINGS[setting].target.name if setting in SETTINGS else 'there',
        method=method,
        seed=seed,
        selection='last',
        step=30_000,
        fingerprint=f'mark-{method}',
        classes=labels.classes,
        scored=labels.scored,
        confusion=confusion,
        image_names=('a.tif',),
        image_counts=array('q', [count for row in confusion for count in row]),
        images=1,
        coverage={'train': Coverage(9, 9), 'test': Coverage(1, 1)},
        adaptation=False,
        protocol=CHIPS,
        recipe={},
        versions={'crossearth': '0.1', 'torch': '2'},
        hardware={'training': {'name': 'abacus'}, 'evaluation': {'name': 'slide rule'}},
        commit=None,
        seconds={'training': 1.0},
        memory_bytes=3 << 30,
        parameters=4_000_000,
        finished='2026-01-01T00:00:00+00:00',
    )
    return replace(made, **changes)


def buildings(hit, missed, false, rest=1000):
    """IoU of buildings: hit / (hit + missed + false)."""
    return ((rest, false), (missed, hit))


# A2S: the paper prints CrossEarth 44.3, Rein 30.8.
RUNS = [
    result('A2S', 'crossearth', 0, buildings(40, 30, 30)),  # 40 %
    result('A2S', 'crossearth', 1, buildings(44, 26, 30)),  # 44 %
    result('A2S', 'crossearth', 2, buildings(48, 30, 22)),  # 48 %
    result('A2S', 'rein', 0, buildings(30, 30, 40)),  # 30 %
    result('A2S', 'rein', 1, buildings(35, 30, 35)),  # 35 %
    result('A2S', 'crossearth', 0, buildings(50, 25, 25), selection='oracle', step=12_000),
]


def test_mean_spread_and_differences_are_those_computed_by_hand():
    ours, rein, oracle = summarise(RUNS)
    assert (ours.method, ours.selection, ours.seeds) == ('crossearth', 'last', (0, 1, 2))
    assert ours.scores == pytest.approx((40, 44, 48))
    assert ours.mean == pytest.approx(44)
    assert ours.sd == pytest.approx(4)  # √((16 + 0 + 16) / 2)
    assert ours.published == 44.3
    assert ours.against_published == pytest.approx(-0.3)
    assert ours.against_baseline == pytest.approx(44 - 32.5)
    assert rein.mean == pytest.approx(32.5)
    assert rein.sd == pytest.approx(math.sqrt(12.5))
    assert rein.against_published == pytest.approx(1.7)
    assert math.isnan(rein.baseline)
    assert oracle.selection == 'oracle'
    assert oracle.mean == pytest.approx(50)
    assert math.isnan(oracle.sd)
    assert math.isnan(oracle.baseline)  # no oracle of the baseline was run


def test_scores_of_classes_are_means_over_seeds():
    ours = summarise(RUNS)[0]
    background = [1000 / 1060, 1000 / 1056, 1000 / 1052]
    assert ours.per_class['background'] == pytest.approx(100 * sum(background) / 3)
    assert ours.per_class['building'] == pytest.approx(44)


def test_protocols_and_trainings_are_never_averaged():
    other = [
        replace(RUNS[0], protocol=replace(CHIPS, flip=True)),
        replace(RUNS[0], fingerprint='another'),
    ]
    rows = summarise(RUNS + other)
    assert [len(row.seeds) for row in rows] == [1, 1, 3, 2, 1]


def test_a_baseline_of_other_steps_stands_beside_nothing():
    runs = [RUNS[0], replace(RUNS[3], step=10_000)]
    assert math.isnan(summarise(runs)[0].against_baseline)


def test_classes_that_do_not_occur_are_left_out_of_the_mean():
    only = tuple(tuple(5 if i == j == 1 else 0 for j in range(6)) for i in range(6))
    (row,) = summarise([result('P(i)2V', 'own', 0, only)])
    assert row.mean == 100
    assert math.isnan(row.per_class['tree'])


def test_published_scores_are_those_of_the_tables():
    assert published_score('D2M', 'crossearth_rvsa')[0] == 55.5
    assert published_score('D2M', 'mtp')[0] == 54.3
    assert published_score('Sub2Trf', 'table8_gse')[0] == 63.1
    assert published_score('Sub2Tms', 'table13_mse')[0] == 62.0
    assert math.isnan(published_score('Sub2Sub', 'table8_gse')[0])
    assert math.isnan(published_score('P(i)2V', 'cnn')[0])


def test_results_come_back_from_their_files(tmp_path):
    RUNS[0].save(tmp_path / 'results' / 'A2S' / 'a.json')
    assert load_results(tmp_path) == [RUNS[0]]
    with pytest.raises(ConfigError, match='holds no results'):
        load_results(tmp_path / 'results')
    (tmp_path / 'results' / 'b.json').write_text('{')
    with pytest.raises(ConfigError, match=r'b\.json is not a complete benchmark result'):
        load_results(tmp_path)
    (tmp_path / 'results' / 'b.json').write_text('{"format": "other"}')
    with pytest.raises(ConfigError, match="has format 'other'"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        ({'selection': 'best'}, "neither 'last' nor 'oracle'"),
        ({'seed': '0'}, 'seed, step, images and parameters are not all integers'),
        ({'confusion': [[1, 2], [3]]}, 'not a table of 2 x 2 counts'),
        ({'confusion': [[1, 2], [3, -4]]}, 'not a table of 2 x 2 counts'),
        ({'scored': [2]}, r'scored classes \[2\] of 2'),
        ({'per_image': {'a.tif': [1, 2, 3, 4]}}, 'counts of the images do not add up to confusion'),
        ({'per_image': {'a.tif': [1, 2]}}, 'counts of the images do not add up to confusion'),
        ({'coverage': {'val': {'found': 1, 'expected': 1, 'missing': []}}}, "expected 'train' and"),
    ],
)
def test_results_that_no_run_has_are_refused_by_name(tmp_path, changed, message):
    path = tmp_path / 'results' / 'a.json'
    RUNS[0].save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(
        ConfigError, match=rf'a\.json is not a complete benchmark result .*{message}'
    ):
        load_results(tmp_path)


def test_a_copy_of_a_result_does_not_count_as_another_seed(tmp_path):
    for name in ('seed0-last.json', 'seed0-last-copy.json'):
        RUNS[0].save(tmp_path / 'results' / 'A2S' / name)
    with pytest.raises(
        ConfigError, match=r'seed0-last\.json and .*copy.* are results of the same run'
    ):
        load_results(tmp_path)


def test_sweeps_have_the_points_of_the_appendix_and_vary_one_image():
    styled = list(sweep_variations('styled'))
    assert [(v.styled.tau, v.styled.patch_px) for v in styled] == [
        (tau, side) for tau in TAUS for side in PATCHES_PX
    ]
    assert len(styled) == 25
    assert all(v.masked is None for v in styled)
    (one,) = sweep_variations('masked', taus=[0.5], patches_px=[32], steps=9)
    recipe = training_recipe('casid_subms', variation=one)
    task = recipe['model']['init_args']['method']['init_args']
    assert task['mask']['init_args']['ratio'] == 0.5
    assert task['style']['init_args']['ratio'] == 0.1  # of Table 14
    runs = [
        result('A2S', 'crossearth', seed, buildings(hit, 50 - hit, 50), recipe=recipe)
        for seed, hit in ((0, 20), (1, 40))
    ]
    assert sweep_scores(runs, 'masked', 'A2S') == {(0.5, 32): pytest.approx(30)}
    assert sweep_scores(runs, 'masked', 'S2A') == {}


VAIHINGEN = tuple(tuple(7 if i == j else 1 for j in range(6)) for i in range(6))


def test_a_partial_set_is_marked_and_never_next_to_published_numbers(tmp_path):
    few = {'train': Coverage(24, 24), 'test': Coverage(2, 17, ('6', '8'))}
    part = result('P(i)2V', 'crossearth', 0, VAIHINGEN, coverage=few)
    whole = result('P(i)2V', 'crossearth', 0, VAIHINGEN)
    assert part.partial == 'tested on 2 of 17 images'
    assert not whole.partial
    rows = summarise([part, whole])
    assert [row.published for row in rows] == pytest.approx([67.5, math.nan], nan_ok=True)
    assert [row.partial for row in rows] == ['', 'tested on 2 of 17 images']
    assert not rows[1].published_per_class
    part.save(tmp_path / 'results' / 'a.json')
    assert json.loads((tmp_path / 'results' / 'a.json').read_text())['partial'] == part.partial
    assert load_results(tmp_path) == [part]


def test_training_on_few_images_is_partial_too():
    few = {'train': Coverage(1, 24), 'test': Coverage(17, 17)}
    made = result('P(i)2V', 'crossearth', 0, VAIHINGEN, coverage=few)
    assert made.partial == 'trained on 1 of 24 images'


def test_adaptation_is_a_row_apart_and_compared_with_a_baseline_that_saw_the_source_alone():
    adapted = [replace(run, method='rein', adaptation=True) for run in RUNS[1:2]]
    teacher = [replace(run, method='teacher', adaptation=True) for run in RUNS[1:2]]
    rows = summarise([*teacher, *RUNS[3:5]])
    assert [(row.method, row.adaptation) for row in rows] == [('rein', False), ('teacher', True)]
    assert rows[1].against_baseline == pytest.approx(44 - 32.5)
    assert math.isnan(rows[1].published)
    both = summarise([*adapted, *RUNS[3:5]])  # of one name and fingerprint, and never averaged
    assert [(row.method, row.adaptation, len(row.seeds)) for row in both[-1:]] == [
        ('rein', True, 1)
    ]


def test_own_domains_stand_after_the_published_settings():
    own = result('here-to-there', 'rein', 0, VAIHINGEN)
    rows = summarise([own, RUNS[0]])
    assert [row.setting for row in rows] == ['A2S', 'here-to-there']
    assert math.isnan(rows[1].published)


def test_the_counts_of_a_thousand_images_take_little_room(tmp_path):
    """LoveDA, urban to rural: 992 images of seven classes."""
    names = tuple(f'Val/Rural/images_png/{i}.png' for i in range(992))
    counts = array('q', [20_000 if i % 8 == 0 else 150 for _ in names for i in range(49)])
    total = [992 * counts[i] for i in range(49)]
    confusion = tuple(tuple(total[i : i + 7]) for i in range(0, 49, 7))
    labels = SETTINGS['U2R'].target.labels
    made = replace(
        result('U2R', 'rein', 0, VAIHINGEN),
        classes=labels.classes,
        confusion=confusion,
        image_names=names,
        image_counts=counts,
    )
    made.save(tmp_path / 'a.json')
    assert (tmp_path / 'a.json').stat().st_size < 500_000
    assert made.image_counts.itemsize * len(made.image_counts) < 400_000  # bytes of memory
    assert RunResult.load(tmp_path / 'a.json') == made
