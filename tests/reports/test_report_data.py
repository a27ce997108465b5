import math
from array import array
from dataclasses import replace

import numpy as np
import pytest

from crossearth.reports import report_data
from tests.reports import made_up


def buildings(hit, seed=0, **changes):
    """A result on A2S whose IoU of buildings is hit percent."""
    confusion = ((1000, 100 - hit), (0, hit))
    return made_up.made_up('A2S', 'crossearth', seed, confusion=confusion, **changes)


def row(data, **wanted):
    chosen = data.scores
    for name, value in wanted.items():
        chosen = chosen[chosen[name] == value]
    (found,) = chosen.to_dict('records')
    return found


def test_means_spreads_and_intervals_are_those_computed_by_hand():
    data = report_data([buildings(40, 0), buildings(44, 1), buildings(48, 2)])
    only = row(data, domain='A2S')
    assert only['mean'] == pytest.approx(44)
    assert only['sd'] == pytest.approx(4)
    half = 4.302653 * 4 / math.sqrt(3)  # Student's t of 2 degrees of freedom
    assert (only['low'], only['high']) == pytest.approx((44 - half, 44 + half), abs=1e-4)
    assert (only['seeds'], only['images'], only['partial']) == (3, 3726, '')
    assert only['minus_paper'] == pytest.approx(44 - 44.3)
    classes = data.classes.set_index('class')
    assert classes.loc['building', 'mean'] == pytest.approx(44)
    assert classes.loc['background', 'mean'] == pytest.approx(
        100 * np.mean([1000 / 1060, 1000 / 1056, 1000 / 1052])
    )


def test_one_seed_has_an_interval_over_images_alone():
    counts = array('q', [500, 20, 0, 40, 500, 40, 0, 0])  # the second image has no building right
    images = {'image_names': ('a.tif', 'b.tif'), 'image_counts': counts}
    data = report_data([buildings(40, **images)])
    only = row(data, domain='A2S')
    assert math.isnan(only['low'])
    assert math.isnan(only['sd'])
    # a quarter of the draws has the first image twice, a quarter the second
    assert (only['images_low'], only['images_high']) == pytest.approx((0, 100 * 40 / 60))
    building = data.classes.set_index('class').loc['building']
    assert (building.low, building.high) == (only['images_low'], only['images_high'])


def test_confusion_matrices_are_added_up_over_seeds():
    data = report_data([buildings(40, 0), buildings(44, 1)])
    (one,) = data.confusions
    assert one.counts.tolist() == [[2000, 116], [0, 84]]


def test_incomplete_sets_are_marked_and_stand_beside_nothing_published():
    data = report_data([buildings(40, images=8), made_up.made_up('P(i)2V', 'rein', 0)])
    lacking = row(data, domain='A2S')
    assert lacking['partial'] == 'tested on 8 of 3726 images'
    assert math.isnan(lacking['paper'])
    assert math.isnan(lacking['minus_paper'])
    assert set(data.quoted.domain) == {'P(i)2V'}
    assert data.confusions[0].partial or data.confusions[1].partial


def test_a_baseline_on_other_images_is_not_one():
    complete = [made_up.made_up('A2S', method, 0) for method in ('crossearth', 'rein')]
    assert not math.isnan(row(report_data(complete), method='crossearth')['minus_baseline'])
    mixed = [complete[0], made_up.few(complete[1])]
    assert math.isnan(row(report_data(mixed), method='crossearth')['minus_baseline'])


def test_kinds_are_kept_apart():
    data = report_data([buildings(40), buildings(50, selection='oracle', step=12_000)])
    assert row(data, kind='last')['mean'] == pytest.approx(40)
    assert row(data, kind='oracle')['mean'] == pytest.approx(50)


def test_training_runs_that_differ_are_told_apart_by_their_fingerprint():
    runs = [buildings(40), buildings(50, fingerprint='other')]
    assert set(report_data(runs).scores.method) == {'crossearth [0whuc0de]', 'crossearth [other]'}
    # on another source it is another training run anyway
    apart = [buildings(40), made_up.made_up('P(i)2V', 'crossearth', 0)]
    assert set(report_data(apart).scores.method) == {'crossearth'}


def test_what_led_to_a_result_is_told_once():
    runs = [
        buildings(40, 0),
        buildings(44, 1, commit='beef', versions={'crossearth': '0.1.0', 'torch': '2.10.0'}),
    ]
    (one,) = report_data(runs).trained
    assert one.seeds == (0, 1)
    assert one.commits == ('c0ffee' * 6, 'beef')
    assert one.versions['torch'] == ('2.9.0', '2.10.0')
    assert one.versions['crossearth'] == ('0.1.0',)
    assert one.hardware['training name'] == ('abacus',)
    assert 'name: <b>' in one.recipe
    assert one.recipe.startswith('seed_everything: 0\n')


def test_costs_are_means_and_say_what_was_resumed():
    runs = [buildings(40, 0), buildings(44, 1)]
    (cost,) = report_data(runs).costs.to_dict('records')
    assert cost['training_s'] == pytest.approx(5000.5)
    assert cost['images_per_s'] == pytest.approx(3726 / 120)
    assert not cost['resumed']
    resumed = replace(runs[0], seconds={'training': 5.0, 'training_from_step': 9})
    (cost,) = report_data([resumed]).costs.to_dict('records')
    assert cost['resumed']
    assert math.isnan(cost['evaluation_s'])
