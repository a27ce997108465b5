"""Experiments on domains that a user has: what is run, what is paired, what continues."""

import itertools
import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from crossearth.benchmark import (
    RunOptions,
    load_results,
    read_experiment,
    run_experiment,
    runner,
    summarise,
    training,
)
from crossearth.benchmark.runs import check_weights, seeded
from crossearth.benchmark.training import build_run, device_of
from crossearth.cli import main
from crossearth.datasets import merge_domains
from crossearth.errors import CheckpointError, ConfigError, SceneNotFoundError
from crossearth.reports import format_scores, report_data
from crossearth.trainers import build_training
from crossearth.trainers.notices import hushed

ROOT = Path(__file__).parents[2]

EXPERIMENT = """
labels:
  name: roads
  classes: [background, road]
  palette: [[0, 0, 0], [255, 255, 255]]
  scored: [1]
domains:
  here:
    train: {images: HOME/here/images, masks: HOME/here/masks}
    test: {images: HOME/here/images, masks: HOME/here/masks}
  there:
    train: {images: HOME/there/images, masks: HOME/there/masks}
    test: {images: HOME/there/images, masks: HOME/there/masks}
sources: [here]
methods:
  plain:
    task: &task
      class_path: crossearth.trainers.TrainingTask
      init_args:
        lr: 0.01
        method:
          class_path: crossearth.trainers.SourceOnly
          init_args: &method
            model: &model
              class_path: crossearth.models.fpn_timm
              init_args: {name: mobilenetv3_small_050, num_classes: 2, width: 8}
  styled:
    task:
      class_path: crossearth.trainers.TrainingTask
      init_args:
        lr: 0.01
        method:
          class_path: crossearth.trainers.SourceOnly
          init_args:
            style: {class_path: drawing.Drawing}
            model: *model
augment:
  - {class_path: kornia.augmentation.RandomHorizontalFlip, init_args: {p: 0.5}}
  - {class_path: crossearth.transforms.RandomScaleCrop, init_args: {size_px: 16}}
  - {class_path: kornia.augmentation.RandomVerticalFlip, init_args: {p: 0.5}}
seeds: 2
steps: 3
size_px: 16
batch_size: 2
baseline: plain
"""

DRAWING = '''
import torch
from torch import nn


class Drawing(nn.Module):
    """A style that draws when it is built and whenever it is used."""

    def __init__(self):
        super().__init__()
        self.network = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, image):
        return (image + 0.1 * torch.rand(image.shape[0], 1, 1, 1)).clamp(0, 1)
'''


@pytest.fixture
def home(tmp_path, monkeypatch, write_raster):
    """Two domains of two images of 24 px, and a module of the user's."""
    rng = np.random.default_rng(0)
    for domain, name in itertools.product(('here', 'there'), ('a', 'b')):
        mask = np.zeros((1, 24, 24), np.uint8)
        mask[:, 8:14] = 1
        pixels = rng.integers(0, 200, (3, 24, 24), dtype=np.uint8) + 50 * mask
        write_raster(f'{domain}/images/{name}.tif', pixels)
        write_raster(f'{domain}/masks/{name}.tif', mask)
    (tmp_path / 'drawing.py').write_text(DRAWING)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def file(home):
    path = home / 'mine.yaml'
    path.write_text(EXPERIMENT.replace('HOME', str(home)))
    return path


@pytest.fixture
def options(tmp_path):
    return RunOptions(output=tmp_path / 'out', device='cpu', num_workers=0)


def edited(file, **changes):
    values = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(values | changes, sort_keys=False))
    return file


def test_every_method_seed_and_domain_has_a_result(file, options):
    results = run_experiment(file, options)
    assert [(r.method, r.seed, r.setting) for r in results] == [
        (method, seed, f'here-to-{target}')
        for seed in (0, 1)
        for method in ('plain', 'styled')
        for target in ('here', 'there')
    ]
    first = results[0]
    assert first.metric == 'foreground IoU'
    assert first.image_names == ('a.tif', 'b.tif')
    assert int(first.matrix.sum()) == 2 * 24 * 24
    assert not first.partial  # of folders, nobody knows what a complete set is
    assert load_results(options.output) == sorted(
        results, key=lambda r: (r.setting, r.method, r.seed)
    )
    rows = summarise(results, baseline='plain')
    assert [(row.setting, row.method, row.seeds) for row in rows[:2]] == [
        ('here-to-here', 'plain', (0, 1)),
        ('here-to-here', 'styled', (0, 1)),
    ]
    styled = rows[1]
    pairs = [
        [r.score for r in results if (r.setting, r.method) == ('here-to-here', method)]
        for method in ('styled', 'plain')
    ]
    assert styled.against_baseline == pytest.approx(np.mean(pairs[0]) - np.mean(pairs[1]))
    assert styled.difference_over_images.known


def test_a_part_can_be_run_first_and_the_rest_later(file, options):
    edited(file, sources=['here', 'there'])
    part = run_experiment(file, options, methods=['plain'], seeds=[1], sources=['here'])
    assert [(r.method, r.seed, r.source) for r in part] == [('plain', 1, 'here')] * 2
    edited(file, seeds=[1], sources=['here'])
    whole = run_experiment(file, options)
    assert [r for r in whole if r.method == 'plain'] == part
    assert len(whole) == 4


@pytest.mark.parametrize(
    ('wanted', 'message'),
    [
        (
            {'methods': ['plian']},
            r"no method 'plian': expected some of plain, styled; did you mean 'plain'",
        ),
        ({'seeds': [7]}, r'no seed 7: expected some of 0, 1'),
        ({'sources': ['there']}, r"no source 'there': expected some of here"),
    ],
)
def test_a_part_that_is_not_in_the_experiment_is_refused(file, options, wanted, message):
    with pytest.raises(ConfigError, match=message):
        run_experiment(file, options, **wanted)


def test_images_are_scored_as_they_would_be_mapped(file, options):
    values = yaml.safe_load(file.read_text())
    domains, plain = values['domains'], values['methods']['plain']
    domains['fine'] = {'test': {**domains['there']['test'], 'native_gsd_m': 0.25}}
    domains['cut'] = {'test': {**domains['there']['test'], 'gsd_m': 0.3}}
    results = run_experiment(
        edited(file, domains=domains, methods={'plain': plain}, seeds=1, augment=[]), options
    )
    seen = {result.target: result.seen for result in results}
    trained = 'the model was trained at 0.5 m'
    stated = 'stated, although the georeference says 0.5 m'
    assert seen == {
        'here': {f'own pixels 0.5 m (georeference), seen as they are: {trained}': 2},
        'there': {f'own pixels 0.5 m (georeference), seen as they are: {trained}': 2},
        'fine': {f'own pixels 0.25 m ({stated}), seen at 0.5 m: {trained}': 2},
        'cut': {
            'own pixels 0.3 m (after resampling), seen as they are: its dataset was opened with '
            'gsd_m': 2
        },
    }
    assert {r.target: int(r.matrix.sum()) for r in results}['fine'] == 2 * 24 * 24
    assert [result.seen for result in load_results(options.output)] == [
        seen[target] for target in ('cut', 'fine', 'here', 'there')
    ]
    assert results[0].protocol.seen_at == 'model'
    text = format_scores(report_data(results, baseline='plain'))
    assert 'seen at the pixel size of the training' in text
    assert f'here-to-fine: 2 images: own pixels 0.25 m ({stated}), seen at 0.5 m: {trained}' in text


def test_the_recipe_of_a_result_repeats_it(file, options):
    """Each result holds a complete recipe, which nothing else is needed for."""
    (result, *_) = run_experiment(edited(file, seeds=[5]), options)
    again = build_training(seeded(dict(result.recipe), 5))
    assert again.data.train.scenes[0].image.endswith('here/images/a.tif')
    assert again.task.labels.classes == ('background', 'road')
    assert result.recipe['seed_everything'] == 5


def weights_and_batches(run, folder, options):
    """Initial weights, and the first batches as they reach the method."""
    built = training.build_run(run, folder / run.name, options)
    state = {name: value.clone() for name, value in built.task.model.state_dict().items()}
    seen = []
    original = built.task.method.losses

    def losses(batch):
        seen.append({name: batch[name].clone() for name in ('image', 'mask')})
        return original(batch)

    built.task.method.losses = losses
    built.trainer.fit(built.task, datamodule=built.data)
    return state, seen


def test_methods_with_one_seed_begin_with_equal_weights_and_see_equal_windows_and_flips(
    file, options, tmp_path
):
    runs = {(run.name, run.seed): run for run in read_experiment(file).runs()}
    with hushed():
        plain, plain_batches = weights_and_batches(runs['plain', 0], tmp_path / 'a', options)
        styled, styled_batches = weights_and_batches(runs['styled', 0], tmp_path / 'a', options)
        other, other_batches = weights_and_batches(runs['plain', 1], tmp_path / 'b', options)
    assert plain.keys() == styled.keys()
    assert all(torch.equal(plain[name], styled[name]) for name in plain)
    assert not all(torch.equal(plain[name], other[name]) for name in plain)
    assert len(plain_batches) == 3
    for ours, theirs in zip(plain_batches, styled_batches, strict=True):
        assert torch.equal(ours['image'], theirs['image'])
        assert torch.equal(ours['mask'], theirs['mask'])
    assert not torch.equal(plain_batches[0]['mask'], other_batches[0]['mask'])


def test_another_augmentation_in_between_leaves_windows_and_flips_alone(file, options, tmp_path):
    values = yaml.safe_load(file.read_text())
    noise = {
        'class_path': 'kornia.augmentation.RandomGaussianNoise',
        'init_args': {'p': 0.5, 'std': 0.0},
    }
    values['methods'] = {
        'few': values['methods']['plain'],
        'many': values['methods']['plain'] | {'augment': [noise, *values['augment']]},
    }
    experiment = read_experiment(edited(file, methods=values['methods'], baseline=None))
    runs = {run.name: run for run in experiment.runs()}
    few, many = runs['few'], runs['many']
    with hushed():
        _, ours = weights_and_batches(few, tmp_path, options)
        _, theirs = weights_and_batches(many, tmp_path, options)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one['mask'], other['mask'])


def test_what_is_finished_is_not_made_again_and_what_was_added_is(file, options):
    plain = {'plain': yaml.safe_load(file.read_text())['methods']['plain']}
    run_experiment(edited(file, methods=plain, seeds=[0]), options)
    before = {path: path.stat().st_mtime_ns for path in options.output.glob('results/**/*.json')}
    assert len(before) == 2
    results = run_experiment(edited(file, seeds=[0, 1]), options)
    after = {path: path.stat().st_mtime_ns for path in options.output.glob('results/**/*.json')}
    assert before.items() <= after.items()
    assert (len(after), len(results)) == (4, 4)


def test_other_images_and_another_protocol_are_scored_again_without_training(
    file, options, home, write_raster
):
    rng = np.random.default_rng(1)
    write_raster('new/images/c.tif', rng.integers(0, 200, (3, 24, 24), dtype=np.uint8))
    write_raster('new/masks/c.tif', rng.integers(0, 2, (1, 24, 24), dtype=np.uint8))
    values = yaml.safe_load(file.read_text())
    edited(file, methods={'plain': values['methods']['plain']}, seeds=1)
    before = run_experiment(file, options)
    domains = values['domains']
    domains['there']['test'] = {'images': f'{home}/new/images', 'masks': f'{home}/new/masks'}
    edited(file, domains=domains)
    said = []
    after = run_experiment(file, replace(options, say=said.append))
    assert after[0] == before[0]
    assert after[1].image_names == ('c.tif',)
    assert 'here-to-there has other images or another protocol than its result' in said[0]
    assert not any('trains for' in line for line in said)
    assert load_results(options.output) == after
    fresh = run_experiment(file, replace(options, output=home / 'fresh'))
    assert [r.confusion for r in fresh] == [r.confusion for r in after]
    edited(file, protocol={'flip': True})
    flipped = run_experiment(file, options)
    assert all(r.protocol.flip for r in flipped)
    assert load_results(options.output) == flipped


def test_further_views_are_scored_without_training_again(file, options):
    plain = {'plain': yaml.safe_load(file.read_text())['methods']['plain']}
    run_experiment(edited(file, methods=plain, seeds=[0]), options)
    kept = {path: path.stat().st_mtime_ns for path in options.output.glob('**/*.ckpt')}
    views = {'small windows': {'window_px': 8, 'stride_px': 8, 'domains': ['there']}}
    results = run_experiment(edited(file, views=views), options)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    made = {r.setting: r for r in results}
    assert list(made) == ['here-to-here', 'here-to-there', 'here-to-there, small windows']
    again, whole = made['here-to-there, small windows'], made['here-to-there']
    assert (again.target, again.protocol.window_px, whole.protocol.window_px) == ('there', 8, 16)
    assert again.fingerprint == whole.fingerprint
    assert again.image_counts != whole.image_counts


@pytest.mark.slow  # each process imports PyTorch
def test_two_processes_share_the_runs_and_take_none_twice(file, options):
    """Four runs; the results are those of one process."""
    apart = replace(options, output=options.output / 'two', processes=2)
    results = run_experiment(file, apart)
    assert len(results) == 8
    logs = list(apart.output.glob('trainings/**/logs/session*'))
    assert len(logs) == 4  # a second process in a folder would have made a second one
    threads = torch.get_num_threads()
    torch.set_num_threads(max((os.cpu_count() or 1) // 2, 1))  # as each of the two: sums differ
    try:
        one = run_experiment(edited(file, seeds=[1]), options)
    finally:
        torch.set_num_threads(threads)
    assert [r.confusion for r in one] == [r.confusion for r in results if r.seed == 1]
    assert multiprocessing.active_children() == []


@pytest.mark.slow  # each process imports PyTorch
def test_a_process_that_fails_says_so_and_leaves_what_is_finished(file, options, home, capfd):
    values = yaml.safe_load(file.read_text())
    broken = yaml.safe_load(yaml.safe_dump(values['methods']['plain']))
    broken['task']['init_args']['method']['init_args']['model']['init_args']['num_classes'] = 3
    # in this order: no process comes to the broken one before another has taken the sound one
    methods = {'plain': values['methods']['plain'], 'broken': broken}
    edited(file, methods=methods, seeds=[0])
    with pytest.raises(ConfigError, match=r'process \d.* of 2 failed, see above'):
        run_experiment(file, replace(options, processes=2))
    said = capfd.readouterr().err
    assert 'build it with num_classes=2' in said
    assert list(options.output.glob('results/**/*.json')), said
    assert {r.method for r in load_results(options.output)} == {'plain'}


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Ray's own
def test_on_ray_the_runs_are_those_of_one_process_and_a_failure_is_told(file, options):
    pytest.importorskip('ray', reason='the extra scale is not installed')
    values = yaml.safe_load(file.read_text())
    broken = yaml.safe_load(yaml.safe_dump(values['methods']['plain']))
    broken['task']['init_args']['method']['init_args']['model']['init_args']['num_classes'] = 3
    methods = {'plain': values['methods']['plain'], 'broken': broken}
    edited(file, methods=methods, seeds=[0])
    said = []
    apart = replace(options, output=options.output / 'ray', ray='local', say=said.append)
    with pytest.raises(ConfigError, match=r'1 of 2 runs failed, the first is .*num_classes=2'):
        run_experiment(file, apart)
    assert sum(line.endswith(': finished') for line in said) == 1
    edited(file, methods={'plain': values['methods']['plain']})
    one = run_experiment(file, options)
    assert [r.confusion for r in one] == [r.confusion for r in load_results(apart.output)]


def test_ray_and_processes_are_not_asked_for_together(options):
    with pytest.raises(ConfigError, match='leave out one of the two'):
        replace(options, ray='local', processes=2)


def test_sources_that_are_joined_are_drawn_from_equally(file):
    experiment = read_experiment(edited(file, sources=[['here', 'there']], unseen=['there']))
    run = experiment.runs()[0]
    assert [case.name for case in run.cases] == ['here+there-to-here', 'here+there-to-there']
    train = build_training(run.recipe).data.train
    assert train.domains == ('here', 'there')
    assert train.domain_weights == {'here': 1.0, 'there': 1.0}
    assert merge_domains.__name__ in run.recipe['data']['init_args']['train']['class_path']


def test_windows_of_joined_sources_can_be_drawn_by_class(file):
    values = yaml.safe_load(file.read_text())
    rare = {**values['methods']['plain'], 'data': {'rare_class_temperature': 0.01}}
    edited(file, sources=[['here', 'there']], methods={'plain': rare})
    data = build_training(read_experiment(file).runs()[0].recipe).data
    assert data.train.domain_weights is None
    assert len(next(iter(data.train_dataloader()))['image']) == 2


def test_a_model_of_joined_sources_is_trained_and_scored(file, options):
    plain = {'plain': yaml.safe_load(file.read_text())['methods']['plain']}
    results = run_experiment(
        edited(file, sources=[['here', 'there']], methods=plain, seeds=[0]), options
    )
    assert [(r.source, r.target) for r in results] == [
        ('here+there', 'here'),
        ('here+there', 'there'),
    ]
    assert results[0].recipe['data']['init_args']['train']['class_path'].endswith('merge_domains')


def test_a_method_around_a_method_takes_the_classes_of_the_inner_one(file):
    values = yaml.safe_load(file.read_text())
    plain = values['methods']['plain']['task']
    arguments = plain['init_args']
    arguments['method'] = {
        'class_path': 'crossearth.trainers.GroupDRO',
        'init_args': {'num_domains': 1, 'method': arguments['method']},
    }
    arguments['method']['init_args']['method']['init_args'].pop('labels', None)
    run = read_experiment(edited(file, methods={'plain': {'task': plain}})).runs()[0]
    assert build_training(run.recipe).task.labels.classes == ('background', 'road')


def test_a_published_method_is_trained_on_own_classes(file):
    experiment = read_experiment(
        edited(file, methods={'ours': {'published': 'rein'}}, baseline=None)
    )
    recipe = experiment.runs()[0].recipe
    method = recipe['model']['init_args']['method']['init_args']
    assert method['model']['class_path'] == 'crossearth.models.rein_vit_large'
    assert method['model']['init_args']['num_classes'] == 2
    assert method['model']['init_args']['img_size'] == 16
    assert method['labels']['classes'] == ['background', 'road']
    assert recipe['model']['init_args']['decay_steps'] == 4  # 40,000 of 30,000 steps


def test_a_published_method_draws_rare_classes_as_published_unless_told_otherwise(file):
    methods = {
        'ours': {'published': 'daformer'},
        'evenly': {'published': 'daformer', 'data': {'rare_class_temperature': None}},
    }
    runs = read_experiment(edited(file, methods=methods, baseline=None, seeds=[0])).runs()
    drawn = {run.name: run.recipe['data']['init_args']['rare_class_temperature'] for run in runs}
    assert drawn == {'ours': 0.01, 'evenly': None}


def test_a_method_that_trains_on_a_target_is_one_of_adaptation(file, options, tmp_path):
    values = yaml.safe_load(file.read_text())
    methods = {
        'plain': values['methods']['plain'],
        'adapted': values['methods']['plain'] | {'target': 'there'},
    }
    experiment = read_experiment(edited(file, methods=methods, seeds=[0]))
    runs = {run.name: run for run in experiment.runs()}
    plain, adapted = runs['plain'], runs['adapted']
    target = adapted.recipe['data']['init_args']['target']
    assert target['init_args']['images'].endswith('there/images')
    with hushed():
        _, ours = weights_and_batches(plain, tmp_path, options)
        _, theirs = weights_and_batches(adapted, tmp_path, options)
    for one, other in zip(ours, theirs, strict=True):  # the target moves no window of the source
        assert torch.equal(one['image'], other['image'])
    results = run_experiment(file, options)
    assert {(r.method, r.adaptation) for r in results} == {('plain', False), ('adapted', True)}
    text = format_scores(report_data(results, baseline='plain'))
    last, apart = text.split('Adaptation: trained with unlabelled images')
    assert 'here-to-there  adapted' not in last
    assert 'here-to-there  adapted' in apart


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'sources': ['nowhere']},
            "sources: 'nowhere' is not a domain: expected one of here, there",
        ),
        ({'unseen': ['nowhere']}, "unseen: 'nowhere' is not a domain"),
        ({'steps': 0}, 'steps is 0: expected a whole number of at least 1'),
        ({'seeds': []}, r'seeds are \[\]: expected whole numbers'),
        ({'seeds': 2.5}, r'seeds are 2.5: expected a number of seeds'),
        ({'unseen': 'there'}, r"unseen is 'there': expected a list of domains, such as \[there\]"),
        ({'protocol': {'window': 3}}, 'unknown keys window: expected some of window_px'),
        ({'views': {'a': {'window': 3}}}, 'protocol has unknown keys window'),
        ({'views': {'a': {'domains': 'x'}}}, "view a: domains is 'x': expected a list of domains"),
        ({'views': {'a': {'domains': ['x']}}}, "view a: 'x' is not a domain"),
        ({'files': {'styles': 'x'}}, 'files has unknown keys styles: expected some of data, style'),
        ({'domains': {'here': {'test': 'x'}}}, "domain here: test is 'x': expected a dataset"),
        ({'methods': {'a/b': {'published': 'rein'}}}, "'a/b' cannot be the name of a folder"),
        ({'methods': {'a': {'model': 1}}}, 'method a is .*: expected either task'),
        ({'methods': {'a': {'published': 'rein', 'lr': 1}}}, 'method a has unknown keys lr'),
        ({'methods': {'a': {'published': 'best'}}}, "no method is named 'best'"),
        (
            {'methods': {'a': {'published': 'rein', 'target': 'x'}}},
            "its target 'x' is not a domain",
        ),
        ({'baseline': 'other'}, "baseline 'other' is not a method: expected one of plain, styled"),
        ({'labels': {'name': 'roads'}}, "KeyError: 'classes'"),
        ({'domains': {'here': {'images': 'x'}}}, 'expected the keys train and test'),
        (
            {'colour': 'red'},
            r"has unknown keys \['colour'\]: expected domains, labels, methods, size_px",
        ),
    ],
)
def test_what_an_experiment_cannot_be_is_refused_by_name(file, changes, message):
    edited(file, **changes)
    with pytest.raises(ConfigError, match=message):
        read_experiment(file).runs()


def test_a_misspelt_option_of_the_last_method_shows_before_anything_is_trained(file, options):
    styled = yaml.safe_load(file.read_text())['methods']['styled']
    styled['task']['init_args']['method']['init_args']['stile'] = 1
    edited(file, methods={**yaml.safe_load(file.read_text())['methods'], 'styled': styled})
    with pytest.raises(ConfigError, match=r"styled: .*Option 'stile' is not accepted") as told:
        run_experiment(file, options)
    assert 'Given value' not in str(told.value)
    assert not list(options.output.glob('trainings/**/*.json'))


def test_a_model_that_cannot_be_built_shows_before_anything_is_trained(file, options):
    methods = yaml.safe_load(file.read_text())['methods']
    model = methods['styled']['task']['init_args']['method']['init_args']['model']
    model['class_path'] = 'crossearth.models.adapted_fpn'
    model['init_args'] = {'name': 'test_resnet', 'adapter': 'gate', 'num_classes': 6}
    with pytest.raises(ConfigError, match=r'styled: ResNet has no blocks of attention and MLP'):
        run_experiment(edited(file, methods=methods), options)
    assert not list(options.output.glob('trainings/**/*.ckpt'))


@pytest.mark.parametrize(
    ('view', 'message'),
    [
        ({'scales': [1, 0.5], 'merge': 'max', 'merge_class': 'roof'}, "is 'roof', but the classes"),
        ({'seen_at': 200}, r'here-to-there, odd: .*there'),
        ({'merge': 'max'}, "merge is 'max', but images are seen at one scale"),
    ],
)
def test_a_view_that_cannot_be_scored_shows_before_anything_is_trained(
    file, options, view, message
):
    with pytest.raises(ConfigError, match=message):
        run_experiment(edited(file, views={'odd': {**view, 'domains': ['there']}}), options)
    assert not list(options.output.glob('trainings/**/*.ckpt'))


def test_scores_are_kept_as_soon_as_they_are_known(file, options, monkeypatch):
    count = runner.count_images

    def counted(model, case, *args, **kwargs):
        if case.target == 'there':
            raise ArithmeticError('the second domain')
        return count(model, case, *args, **kwargs)

    monkeypatch.setattr(runner, 'count_images', counted)
    with pytest.raises(ArithmeticError):
        run_experiment(edited(file, seeds=[0]), options)
    assert [path.parts[-3] for path in options.output.glob('results/**/*.json')] == ['here-to-here']


def test_several_devices_are_refused_before_anything_is_trained(file, options):
    edited(file, trainer={'devices': 4, 'strategy': 'ddp'})
    with pytest.raises(ConfigError, match='plain: devices of the trainer is 4, but each run uses'):
        run_experiment(file, options)
    assert not (options.output / 'trainings').exists()


def test_a_missing_folder_shows_before_anything_is_trained(file, options, home):
    (home / 'there').rename(home / 'moved')
    with pytest.raises(SceneNotFoundError, match=r'there/images: no such folder'):
        run_experiment(file, options)
    assert not list(options.output.glob('trainings/**/*.ckpt'))
    with pytest.raises(ConfigError, match='does not exist'):
        run_experiment(home / 'other.yaml', options)


def test_the_command_line_runs_and_reports(file, home, capsys, monkeypatch):
    monkeypatch.chdir(home)
    edited(file, seeds=[0])
    assert main(['experiment', 'run', str(file), '--device', 'cpu']) == 0
    said = capsys.readouterr()
    assert 'plain, seed 0, learnt in here: trains for 3 steps' in said.out
    assert 'here-to-there  styled' in said.out
    assert '\r' not in said.out + said.err  # bars are for terminals
    results = sorted(Path('experiments/mine').glob('results/*/*/*.json'))
    assert len(results) == 4
    assert json.loads(results[0].read_text())['per_image'].keys() == {'a.tif', 'b.tif'}
    assert main(['experiment', 'report', 'experiments/mine', '-o', 'page']) == 0
    assert 'page/index.html: written' in capsys.readouterr().out
    (table,) = Path('page/tables').glob('scores-last.csv')
    assert 'minus_baseline_images_low' in table.read_text().splitlines()[0]
    assert main(['experiment', 'run', 'none.yaml', '--quiet']) == 2
    assert 'none.yaml does not exist: check the path of the experiment' in capsys.readouterr().err


@pytest.mark.slow  # two processes of the command line, each of which imports PyTorch
def test_commands_that_are_started_twice_share_the_runs(file, home, tmp_path):
    words = [sys.executable, '-m', 'crossearth', 'experiment', 'run', str(file)]
    words += ['--device', 'cpu', '--output', str(tmp_path / 'both')]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    started = [subprocess.Popen(words, env=environment) for _ in range(2)]
    codes = {process.wait() for process in started}
    assert codes <= {0, 2}  # 2: the other one is still at work on the last run
    subprocess.run(words, env=environment, check=True)
    assert len(list((tmp_path / 'both').glob('trainings/**/logs/session*'))) == 4


def test_weights_that_a_package_holds_need_no_file(file):
    values = yaml.safe_load(file.read_text())
    model = values['methods']['plain']['task']['init_args']['method']['init_args']['model']
    model['init_args'] = {'num_classes': 2, 'pretrained': 'installed'}
    check_weights(read_experiment(edited(file, methods=values['methods'])).runs()[0])
    model['init_args']['pretrained'] = 'none.pth'
    with pytest.raises(CheckpointError, match=r'none\.pth does not exist'):
        check_weights(read_experiment(edited(file, methods=values['methods'])).runs()[0])


def test_an_empty_section_of_the_trainer_is_that_of_a_run(file, options):
    run = read_experiment(file).runs()[0]
    empty = {**run.recipe, 'trainer': None}
    assert device_of(empty, options) == 'cpu'
    assert device_of(empty, replace(options, device=None)) == 'auto'
    built = build_run(replace(run, recipe=empty), options.output, options)
    assert built.trainer.num_devices == 1
