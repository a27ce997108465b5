import fcntl
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import rasterio
import torch
import yaml
from safetensors.torch import load_file

from crossearth.benchmark import (
    SETTINGS,
    Files,
    RunOptions,
    RunResult,
    Variation,
    load_results,
    run_benchmark,
    runs,
    score_model,
    training,
)
from crossearth.benchmark.cases import case_of
from crossearth.benchmark.runner import better
from crossearth.cli import main
from crossearth.errors import (
    CheckpointError,
    ConfigError,
    LabelError,
    SceneError,
    SceneNotFoundError,
)
from crossearth.models import load_model, read_model_info
from tests.benchmark import trees

ROOT = Path(__file__).parents[2]

RECIPE = """
seed_everything: 7
model:
  class_path: crossearth.trainers.TrainingTask
  init_args:
    method:
      class_path: crossearth.trainers.SourceOnly
      init_args:
        model:
          class_path: crossearth.models.fpn_timm
          init_args: {name: mobilenetv3_small_050, num_classes: 6, width: 16}
        labels:
          name: isprs
          classes: [impervious_surface, building, low_vegetation, tree, car, clutter]
          palette:
            [[255, 255, 255], [0, 0, 255], [0, 255, 255], [0, 255, 0], [255, 255, 0], [255, 0, 0]]
    lr: 0.002
data:
  class_path: crossearth.datasets.ShiftDataModule
  init_args:
    train:
      class_path: crossearth.datasets.Vaihingen
      init_args: {root: ROOT/vaihingen, split: train}
    size_px: 32
    windows_per_epoch: 8
    batch_size: 2
trainer: {max_steps: 6}
pictures: {samples: 2}
"""


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return trees.every_archive(tmp_path_factory.mktemp('archives'))


@pytest.fixture
def recipe(archives, tmp_path):
    path = tmp_path / 'small.yaml'
    path.write_text(RECIPE.replace('ROOT', str(archives)))
    return path


@pytest.fixture
def options(tmp_path):
    return RunOptions(
        output=tmp_path / 'out',
        device='cpu',
        num_workers=0,
        checkpoint_every=2,
        batch_size=4,
        partial=True,  # an image or two of each archive
    )


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob('*.json')}


def with_callback(recipe, callback):
    values = yaml.safe_load(recipe.read_text())
    values['trainer']['callbacks'] = [callback]
    recipe.write_text(yaml.safe_dump(values))


def test_settings_of_one_source_share_a_training_and_each_has_a_result(archives, recipe, options):
    said = []
    results = run_benchmark(
        ['V2P(i)', 'V2P(r)'],
        options=replace(options, say=said.append),
        files=Files(data=archives),
        seeds=[0, 1],
        recipe=recipe,
    )
    assert [(r.setting, r.seed) for r in results] == [
        ('V2P(i)', 0), ('V2P(i)', 1), ('V2P(r)', 0), ('V2P(r)', 1),
    ]  # fmt: skip
    assert sum('trains for 6 steps' in line for line in said) == 2
    assert results[0].matrix.sum() == 80 * 75  # the boundary of 5 rows is not scored
    assert results[0].confusion != results[1].confusion  # each seed is another training run
    assert load_results(options.output) == results
    assert len(list(options.output.glob('trainings/**/model.safetensors'))) == 2


def test_a_result_says_what_led_to_it(archives, recipe, options):
    (result,) = run_benchmark(
        ['V2P(i)'], options=options, files=Files(data=archives), recipe=recipe
    )
    assert (result.method, result.selection, result.step) == ('small', 'last', 6)
    assert result.recipe['model']['init_args']['lr'] == 0.002
    assert result.recipe['seed_everything'] == 7  # its own, as no other is asked for
    assert (result.source, result.target) == ('vaihingen_irrg', 'potsdam_irrg')
    assert {role: str(part) for role, part in result.coverage.items()} == {
        'train': '1 of 16',
        'test': '1 of 14',
    }
    assert result.partial == 'trained on 1 of 16 images, tested on 1 of 14 images'
    assert torch.equal(result.image_matrices.sum(0), result.matrix)
    assert result.image_names == ('top_potsdam_2_13_IRRG.tif',)
    assert result.versions['torch'].split('+')[0] == torch.__version__.split('+')[0]
    assert result.hardware['training']['device'] == 'cpu'
    assert result.commit is None or len(result.commit.partition('-')[0]) == 40
    assert result.seconds['training'] > 0
    assert 1 << 26 < result.memory_bytes < 1 << 36  # python and torch alone take more than 64 MiB
    (model,) = options.output.glob('trainings/**/model.safetensors')
    assert result.parameters == sum(p.numel() for p in load_model(model).parameters())
    assert read_model_info(model).bands == (1, 2, 3)
    (path,) = options.output.glob('results/**/*.json')
    shown = json.loads(path.read_text())
    assert shown['score'] == pytest.approx(result.score, abs=1e-3)
    assert shown['metric'] == 'mIoU'
    assert shown['protocol']['window_px'] == 512


def test_what_is_finished_is_not_made_again(archives, recipe, options):
    given = {'options': options, 'files': Files(data=archives), 'recipe': recipe}
    first = run_benchmark(['V2P(i)'], **given)
    before = times(options.output)
    assert run_benchmark(['V2P(i)'], **given) == first
    assert times(options.output) == before
    # a second setting of the source is scored without another training
    said = []
    run_benchmark(['V2P(i)', 'V2P(r)'], **{**given, 'options': replace(options, say=said.append)})
    assert any('already trained' in line for line in said)
    assert before.items() <= times(options.output).items()


def test_results_of_another_recipe_or_protocol_are_kept_apart(archives, recipe, options):
    given = {'options': options, 'files': Files(data=archives), 'recipe': recipe}
    (first,) = run_benchmark(['V2P(i)'], **given)
    recipe.write_text(recipe.read_text().replace('lr: 0.002', 'lr: 0.001'))
    (second,) = run_benchmark(['V2P(i)'], **given)
    assert first.fingerprint != second.fingerprint
    (third,) = run_benchmark(['V2P(i)'], **{**given, 'options': replace(options, flip=True)})
    assert third.protocol.flip
    assert len(load_results(options.output)) == 3
    # a file that was moved to where another is expected is scored again, or refused
    folder = options.output / 'results' / 'V2P(i)'
    mine = folder / f'small-{second.fingerprint}'
    (mine / 'seed7-last-flip.json').replace(mine / 'seed7-last.json')
    (again,) = run_benchmark(['V2P(i)'], **given)
    assert (again.protocol, again.confusion) == (second.protocol, second.confusion)
    other = folder / f'small-{first.fingerprint}'
    (other / 'seed7-last.json').replace(mine / 'seed7-last.json')
    with pytest.raises(ConfigError, match='it was moved, or written by another version'):
        run_benchmark(['V2P(i)'], **given)


def test_a_training_that_failed_goes_on_from_its_checkpoint(archives, recipe, options, tmp_path):
    given = {'files': Files(data=archives), 'recipe': recipe}
    fuse = tmp_path / 'fuse'
    callback = {
        'class_path': 'tests.benchmark.trees.StopAt',
        'init_args': {'step': 5, 'file': str(fuse)},
    }
    with_callback(recipe, callback)
    (whole,) = run_benchmark(
        ['V2P(i)'], options=replace(options, output=tmp_path / 'whole'), **given
    )
    fuse.touch()
    with pytest.raises(RuntimeError, match='power cut'):
        run_benchmark(['V2P(i)'], options=options, **given)
    assert not list(options.output.glob('results/**/*.json'))
    fuse.unlink()
    said = []
    (result,) = run_benchmark(['V2P(i)'], options=replace(options, say=said.append), **given)
    assert any('resumes at step 4' in line for line in said)
    assert result.seconds['training_from_step'] == 4
    assert result.step == 6
    assert result.confusion == whole.confusion


def test_a_damaged_checkpoint_is_named(archives, recipe, options, tmp_path):
    given = {'options': options, 'files': Files(data=archives), 'recipe': recipe}
    fuse = tmp_path / 'fuse'
    fuse.touch()
    callback = {
        'class_path': 'tests.benchmark.trees.StopAt',
        'init_args': {'step': 3, 'file': str(fuse)},
    }
    with_callback(recipe, callback)
    with pytest.raises(RuntimeError, match='power cut'):
        run_benchmark(['V2P(i)'], **given)
    (last,) = options.output.glob('trainings/**/last.ckpt')
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r'last\.ckpt is damaged'):
        run_benchmark(['V2P(i)'], **given)


def test_the_oracle_is_the_best_candidate_and_stands_apart(archives, recipe, options):
    given = {'files': Files(data=archives), 'recipe': recipe}
    results = run_benchmark(['V2P(i)'], options=replace(options, oracle_every=2), **given)
    last, oracle = results
    assert (last.selection, last.step) == ('last', 6)
    assert oracle.selection == 'oracle'
    assert oracle.step in {2, 4, 6}
    assert oracle.score >= last.score
    kept = list(options.output.glob('trainings/**/candidates/*'))
    assert 'optimizer_states' not in torch.load(kept[0], weights_only=True)
    assert {path.name for path in kept} == {'step=2.ckpt', 'step=4.ckpt', 'step=6.ckpt'}
    with pytest.raises(ConfigError, match='with oracle_every=2, but oracle_every is now 3'):
        run_benchmark(['V2P(i)', 'V2P(r)'], options=replace(options, oracle_every=3), **given)
    # of candidates that are no better, the last model stands
    assert run_benchmark(['V2P(i)'], options=replace(options, oracle_every=2), **given) == results


def test_an_oracle_of_other_candidates_is_not_passed_off_as_the_one_asked_for(
    archives, recipe, options
):
    given = {'files': Files(data=archives), 'recipe': recipe}
    run_benchmark(['V2P(i)'], options=replace(options, oracle_every=2), **given)
    with pytest.raises(ConfigError, match='with oracle_every=2, but oracle_every is now 3'):
        run_benchmark(['V2P(i)'], options=replace(options, oracle_every=3), **given)
    (record,) = options.output.glob('trainings/**/training.json')
    record.write_text(record.read_text()[:30])
    with pytest.raises(ConfigError, match=r'training\.json is not a record of a training run'):
        run_benchmark(['V2P(i)', 'V2P(r)'], options=options, **given)


def test_a_complete_training_that_was_killed_before_its_record_scores_the_average(
    archives, recipe, options
):
    average = {'class_path': 'crossearth.trainers.AverageWeights', 'init_args': {'decay': 0.5}}
    with_callback(recipe, average)
    given = {'options': options, 'files': Files(data=archives), 'recipe': recipe}
    (whole,) = run_benchmark(['V2P(i)'], **given)
    for pattern in ('trainings/**/training.json', 'results/**/*.json'):
        (path,) = options.output.glob(pattern)
        path.unlink()
    (model,) = options.output.glob('trainings/**/model.safetensors')
    before = load_file(model)
    (again,) = run_benchmark(['V2P(i)'], **given)
    assert again.seconds['training_from_step'] == 6
    assert again.confusion == whole.confusion
    after = load_file(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_an_oracle_of_half_a_training_is_refused(archives, recipe, options):
    given = {'options': replace(options, oracle_every=2), 'files': Files(data=archives)}
    run_benchmark(['V2P(i)'], recipe=recipe, **given)
    (first,) = options.output.glob('trainings/**/step=2.ckpt')
    first.unlink()
    with pytest.raises(ConfigError, match='checkpoints of 1 steps are missing, the first is 2'):
        run_benchmark(['V2P(r)'], recipe=recipe, **given)


def test_two_processes_do_not_train_in_one_folder(archives, recipe, options, tmp_path):
    given = {'files': Files(data=archives), 'recipe': recipe}
    (result,) = run_benchmark(['V2P(i)'], options=options, **given)
    (lock,) = options.output.glob('trainings/**/.lock')
    with lock.open('w') as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match='another process is working there'):
            run_benchmark(['V2P(r)'], options=options, **given)
        # what is finished is read, whoever is at work
        assert run_benchmark(['V2P(i)'], options=options, **given) == [result]


def test_whole_images_where_they_are_the_protocol_anyway_are_the_same_result(options):
    run = runs.Run('own', 0, (), {}, 'mark')
    whole = replace(options, whole=True)
    roads, rescue = (case_of(SETTINGS[name], Files()) for name in ('D2M', 'P(i)2Res'))
    assert run.result_path(roads, 'last', whole) == run.result_path(roads, 'last', options)
    assert run.result_path(rescue, 'last', whole) != run.result_path(rescue, 'last', options)


def test_label_maps_are_written_on_request(archives, recipe, options, tmp_path):
    maps = tmp_path / 'maps'
    (result,) = run_benchmark(
        ['V2P(i)'],
        options=replace(options, save_predictions=maps),
        files=Files(data=archives),
        recipe=recipe,
    )
    (path,) = maps.rglob('*.tif')
    (path.parents[3]).rename(tmp_path / 'elsewhere')  # asked for again, they are written again
    run_benchmark(
        ['V2P(i)'],
        options=replace(options, save_predictions=maps),
        files=Files(data=archives),
        recipe=recipe,
    )
    folder = f'small-{result.fingerprint}/seed7/5_Labels_all_noBoundary'
    assert path.parent == maps / 'V2P(i)' / folder
    with rasterio.open(path) as file:
        assert (file.count, file.width, file.crs.to_epsg()) == (3, 80, 32633)


def test_a_model_that_is_there_is_scored_like_one_that_was_trained(
    archives, recipe, options, tmp_path, capsys
):
    given = {'options': options, 'files': Files(data=archives)}
    (trained,) = run_benchmark(['V2P(i)'], recipe=recipe, **given)
    (model,) = options.output.glob('trainings/**/model.safetensors')
    (scored,) = score_model(model, ['V2P(i)'], method='rein', **given)
    assert scored.confusion == trained.confusion
    assert (scored.method, scored.step) == ('rein', 0)
    before = times(options.output)
    assert score_model(model, ['V2P(i)'], method='rein', **given) == [scored]
    assert times(options.output) == before
    drawing = replace(options, save_predictions=tmp_path / 'maps')  # asked for later
    score_model(model, ['V2P(i)'], method='rein', options=drawing, files=given['files'])
    assert len(list(drawing.save_predictions.rglob('*.tif'))) == 1
    with pytest.raises(LabelError, match='D2M has'):
        score_model(model, ['D2M'], **given)
    words = ['benchmark', 'score', str(model), 'V2P(i)', '--root', str(archives), '--quiet']
    words += ['--device', 'cpu', '--workers', '0', '--output', str(options.output), '--flip-tta']
    words += ['--partial']
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert 'mean with the mirror image' in shown
    assert re.search(r'^V2P\(i\) †  model  .* –$', shown, re.MULTILINE)  # it has no steps


def test_a_method_of_the_benchmark_runs_from_end_to_end(archives, options, monkeypatch):
    """`cnn` with a ResNet-18 instead of the ResNet-50, one step, on D2M: foreground IoU."""
    small = replace(
        runs.find_method('cnn'), arguments={'name': 'resnet18', 'width': 16}, builder='fpn_timm'
    )
    monkeypatch.setattr(runs, 'find_method', {'cnn': small}.__getitem__)
    monkeypatch.setattr(
        runs,
        'training_recipe',
        lambda *args, **kwargs: shrink(original(*args, **kwargs)),
    )
    (result,) = run_benchmark(
        ['D2M'],
        options=options,
        files=Files(data=archives),
        methods=['cnn'],
        variation=Variation(steps=1),
    )
    assert (result.metric, result.classes) == ('foreground IoU', ('background', 'road'))
    hit, missed, false = result.matrix[1, 1], result.matrix[1, 0], result.matrix[0, 1]
    assert result.score == pytest.approx(100 * float(hit / (hit + missed + false)), nan_ok=True)
    assert str(result.protocol).startswith('whole images, windows of 1024 px, 683 px apart')
    assert result.step == 1


original = runs.training_recipe


def shrink(recipe):
    recipe['model']['init_args']['method']['init_args']['model']['init_args']['pretrained'] = False
    data = recipe['data']['init_args']
    data['size_px'] = data['augment'][0]['init_args']['size_px'] = 64
    return recipe


def test_what_cannot_run_fails_before_any_training(archives, recipe, options, tmp_path):
    given = {'options': options, 'files': Files(data=archives)}
    with pytest.raises(ConfigError, match='no setting is named P2V: expected one of'):
        run_benchmark(['P2V'], **given)
    with pytest.raises(ConfigError, match='no method is named'):
        run_benchmark(['V2P(i)'], methods=['best'], **given)
    with pytest.raises(ConfigError, match='is an ablation on casid_subms'):
        run_benchmark(['V2P(i)'], methods=['table8_gse'], **given)
    with pytest.raises(SceneNotFoundError, match='potsdam: no such folder'):
        run_benchmark(['V2P(i)'], options=options, files=Files(data=tmp_path), recipe=recipe)
    with pytest.raises(LabelError, match=r"small: its classes are .*, but D2M has \('background'"):
        run_benchmark(['D2M'], recipe=recipe, **given)
    with pytest.raises(ConfigError, match='expected at least 1'):
        replace(options, checkpoint_every=0)
    with pytest.raises(ConfigError, match='num_workers=-1: expected at least 0'):
        replace(options, num_workers=-1)  # after hours of training it would be too late
    with pytest.raises(ConfigError, match="'gpu' is not a device: expected auto, cpu"):
        replace(options, device='gpu')
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match='cuda is not available'):
            replace(options, device='cuda')
    with pytest.raises(CheckpointError, match='the style of crossearth names it as style'):
        run_benchmark(['V2P(i)'], methods=['rein', 'crossearth'], **given)
    assert not list(options.output.glob('trainings/**/*.ckpt'))


def test_incomplete_archives_are_refused_before_anything_is_trained(archives, recipe, options):
    given = {'files': Files(data=archives), 'recipe': recipe}
    with pytest.raises(SceneError, match=r'potsdam: holds 1 of 14 images of potsdam_irrg, to test'):
        run_benchmark(['V2P(i)'], options=replace(options, partial=False), **given)
    assert not list(options.output.glob('trainings/**/*.ckpt'))
    (result,) = run_benchmark(['V2P(i)'], options=options, **given)
    assert result.partial
    with pytest.raises(ConfigError, match='is the result of an incomplete set'):
        run_benchmark(['V2P(i)'], options=replace(options, partial=False), **given)


def test_what_is_not_asked_for_follows_the_recipe(recipe, options):
    values = yaml.safe_load(recipe.read_text())
    values['data']['init_args']['num_workers'] = 3
    values['trainer']['accelerator'] = 'cpu'
    unasked = RunOptions(output=options.output)
    assert training.workers_of(values, unasked) == 3
    assert training.workers_of(values, replace(unasked, num_workers=0)) == 0
    assert training.device_of(values, unasked) == 'cpu'
    assert training.device_of(values, replace(unasked, device='auto')) == 'auto'
    checkpoints = {
        'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint',
        'init_args': {'every_n_train_steps': 17},
    }
    assert training._checkpoint_every([checkpoints]) == 17
    assert training._checkpoint_every([]) == 1000


def test_what_a_recipe_of_ones_own_says_itself_is_refused_beside_it(
    archives, recipe, options, tmp_path, capsys
):
    with pytest.raises(ConfigError, match='sets its own steps, batch and patches'):
        run_benchmark(
            ['V2P(i)'],
            options=options,
            files=Files(data=archives),
            recipe=recipe,
            variation=Variation(steps=3),
        )
    words = ['benchmark', 'run', 'V2P(i)', '--root', str(archives), '--recipe', str(recipe)]
    assert main([*words, '--method', 'rein', '--steps', '3', '--train-batch-size', '2']) == 2
    assert (
        '--method, --steps, --train-batch-size cannot go with --recipe' in capsys.readouterr().err
    )


def test_scores_in_half_precision_stand_apart(archives, recipe, options):
    given = {'files': Files(data=archives), 'recipe': recipe}
    (full,) = run_benchmark(['V2P(i)'], options=options, **given)
    (half,) = run_benchmark(['V2P(i)'], options=replace(options, autocast='bfloat16'), **given)
    assert half.protocol == replace(full.protocol, autocast='bfloat16')
    assert str(half.protocol).endswith('no flip, in bfloat16')
    assert half.matrix.sum() == full.matrix.sum()
    names = sorted(path.name for path in options.output.glob('results/**/*.json'))
    assert names == ['seed7-last-bfloat16.json', 'seed7-last.json']


def test_the_command_line_runs_a_recipe_and_prints_the_table(archives, recipe, tmp_path, capsys):
    words = ['benchmark', 'run', 'V2P(i)', '--root', str(archives), '--recipe', str(recipe)]
    words += ['--output', str(tmp_path / 'out'), '--device', 'cpu', '--workers', '0', '--quiet']
    words += ['--partial']
    assert main(words) == 0
    assert 'V2P(i) †  small ' in capsys.readouterr().out
    assert main(['benchmark', 'report', str(tmp_path / 'out'), '-o', str(tmp_path / 'page')]) == 0
    assert 'V2P(i) †  small ' in capsys.readouterr().out
    assert (tmp_path / 'page' / 'index.html').is_file()
    assert main(['benchmark', 'run', 'V2P(i)', '--root', str(tmp_path / 'none'), '--quiet']) == 2
    assert 'no such folder' in capsys.readouterr().err


def test_the_command_line_sweeps_and_draws(archives, tmp_path, capsys, monkeypatch):
    """Two training runs of one step, with the recipe of the test above instead of CrossEarth."""
    values = yaml.safe_load(RECIPE.replace('ROOT', str(archives)))
    values['trainer']['max_steps'] = 1

    def small(source, method, *, files, variation, seed, settings):
        arguments = original(source, method, files=files, variation=variation, seed=seed)
        part = arguments['model']['init_args']['method']['init_args']['style']['init_args']
        recipe = yaml.safe_load(yaml.safe_dump(values))
        recipe['model']['init_args']['method']['init_args']['style'] = {
            'class_path': 'crossearth.transforms.PatchMask',
            'init_args': {'patch_size': part['patch_size'], 'ratio': part['ratio']},
        }
        return recipe

    monkeypatch.setattr(runs, 'training_recipe', small)
    words = ['benchmark', 'sweep', 'V2P(i)', '--root', str(archives), '--of', 'styled']
    words += ['--tau', '0.1', '0.9', '--patch', '16', '--workers', '0', '--quiet', '--partial']
    assert main([*words, '--device', 'cpu', '--output', str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ['τ', '\\', 'B', '16']
    assert [line.split()[0] for line in lines[2:4]] == ['0.1', '0.9']
    assert (tmp_path / 'sweep-V2P(i)-styled.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.slow  # three processes of the command line
def test_a_run_that_was_killed_goes_on_and_ends_as_if_it_had_not(archives, recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace('max_steps: 6', 'max_steps: 300'))
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}

    def command(output):
        words = ['benchmark', 'run', 'V2P(i)', '--root', str(archives), '--recipe', str(recipe)]
        words += ['--output', str(output), '--device', 'cpu', '--workers', '0', '--partial']
        return [sys.executable, '-m', 'crossearth', *words, '--checkpoint-every', '10']

    killed = tmp_path / 'killed'
    process = subprocess.Popen(command(killed), env=environment, stdout=subprocess.DEVNULL)
    while not list(killed.glob('trainings/**/last.ckpt')):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(killed.glob('**/training.json'))
    done = subprocess.run(
        command(killed), env=environment, capture_output=True, text=True, check=True
    )
    assert 'resumes at step' in done.stdout
    again = subprocess.run(
        command(killed), env=environment, capture_output=True, text=True, check=True
    )
    assert 'already finished' in again.stdout
    subprocess.run(command(tmp_path / 'whole'), env=environment, check=True, capture_output=True)
    resumed, whole = load_results(killed), load_results(tmp_path / 'whole')
    assert [r.confusion for r in resumed] == [r.confusion for r in whole]
    assert isinstance(resumed[0], RunResult)


@pytest.mark.parametrize(
    ('score', 'best', 'kept'),
    [(2.0, 1.0, 2.0), (1.0, 2.0, 2.0), (math.nan, 2.0, 2.0), (2.0, math.nan, 2.0)],
)
@pytest.mark.usefixtures('unchecked')  # results are stood in for
def test_a_score_that_is_unknown_is_never_the_best(score, best, kept):
    assert better(SimpleNamespace(score=score), SimpleNamespace(score=best)).score == kept
