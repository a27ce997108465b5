"""Every file of recipes/ is what the code makes, builds, makes a step and is scored.

The files are taken as they are, but for what is said in `shrunk`.
"""

from pathlib import Path

import pytest
import torch
import yaml

from crossearth.benchmark import (
    METHODS,
    SETTINGS,
    Files,
    Masking,
    Variation,
    fingerprint,
    format_recipe,
    recipe_files,
    settings_of,
    training_recipe,
)
from crossearth.cli import main
from crossearth.errors import ConfigError
from crossearth.models import builders, rivals
from crossearth.models.backbones import mtp
from crossearth.models.backbones.rvsa import RVSA
from crossearth.trainers import build_training, read_recipe
from crossearth.transforms import EarthStyleInjection, PatchMask
from tests.benchmark import trees

FOLDER = Path(__file__).parents[2] / 'recipes'
PUBLISHED = recipe_files()
# One of each kind of method. The rest are tested with `-m slow`.
QUICK = {
    'potsdam_irrg-crossearth.yaml',
    'potsdam_irrg-rein.yaml',
    'whu_satellite2-cnn.yaml',
}


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return trees.every_archive(tmp_path_factory.mktemp('archives'))


@pytest.fixture(scope='module')
def styles(tmp_path_factory):
    return trees.style_files(tmp_path_factory.mktemp('styles'))


def shrunk(recipe, archives, styles):
    """The recipe with these changes, and no other.

    - Archives lie below a temporary folder; weights are random, styles those of random networks.
    - The sides of 512 and 1024 px are 64.
    - One step, on the CPU, read by the process itself.
    - Styles are drawn for each image and patch, not for one image in ten and a share τ of its
      patches, so that the step meets one: 64 px are but one patch of many a recipe.
    """
    method = recipe['model']['init_args']['method']['init_args']
    method = method['method']['init_args'] if 'method' in method else method
    side = 64
    model = method['model']['init_args']
    model['pretrained'] = False
    if 'img_size' in model:
        model['img_size'] = side
    style = method.get('style')
    if style is not None:
        style['init_args'] |= {**styles, 'p': 1.0, 'ratio': 1.0}
    data = recipe['data']['init_args']
    for dataset in (data['train'], data['source_test'], *data['unseen'].values()):
        if dataset is not None:
            root = dataset['init_args']['root']
            dataset['init_args']['root'] = str(archives / Path(root).name)
    data |= {'size_px': side, 'test_size_px': side, 'num_workers': 0}
    data['augment'][0]['init_args']['size_px'] = side
    recipe['trainer'] |= {'accelerator': 'cpu', 'max_steps': 1}
    recipe['trainer'] |= {'enable_progress_bar': False, 'enable_model_summary': False}
    return recipe


@pytest.fixture
def small_backbones(monkeypatch):
    """In place of the ViT-L of DINOv2 and MTP: a few blocks, narrow. All else is built as is."""
    monkeypatch.setattr(builders, 'dinov2_vit', trees.tiny_transformer)
    monkeypatch.setattr(
        mtp,
        'rvsa_vit_large',
        lambda **kwargs: RVSA(dim=32, depth=4, heads=2, interval=2, indices=(0, 1, 2, 3), **kwargs),
    )
    smp_encoder, dilated = rivals._smp_encoder, rivals._dilated
    monkeypatch.setattr(rivals, '_smp_encoder', lambda _, *given: smp_encoder('mit_b0', *given))
    monkeypatch.setattr(rivals, '_dilated', lambda _, *given: dilated('resnet10t', *given))


def test_the_files_are_what_the_code_makes():
    there = {path.name: path.read_text() for path in FOLDER.glob('*.yaml')}
    assert there.keys() == PUBLISHED.keys()
    for name, text in there.items():
        assert text == PUBLISHED[name], f'{name}: run crossearth benchmark recipe --all recipes'


def test_the_paper_has_a_recipe_on_each_of_14_sources():
    assert len([name for name in PUBLISHED if name.endswith('-crossearth.yaml')]) == 14


@pytest.mark.filterwarnings('ignore')  # lightning's notices about a training run of one step
@pytest.mark.parametrize(
    'name', [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
             for name in PUBLISHED]
)  # fmt: skip
def test_it_builds_makes_a_step_and_is_scored(
    name, archives, styles, small_backbones, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    task, data, trainer = build_training(shrunk(read_recipe(FOLDER / name), archives, styles))
    before = {key: value.clone() for key, value in task.named_parameters()}
    trainer.fit(task, datamodule=data)
    assert trainer.global_step == 1
    logged = trainer.callback_metrics
    assert torch.isfinite(logged['train/loss'])
    method = METHODS[name.removesuffix('.yaml').partition('-')[2]]
    assert ('train/loss_mim' in logged) == method.masked
    delta = float(logged.get('train/loss_delta', 0))
    assert (delta > 0) == (method.masked and method.styled)
    changed = {key for key, value in task.named_parameters() if not torch.equal(value, before[key])}
    assert changed
    frozen = {key for key, value in task.named_parameters() if not value.requires_grad}
    assert not changed & frozen
    held = method.feature_distance is not None  # to a frozen copy of the backbone
    assert bool(frozen) == (method.weights == 'dinov2' or held)
    assert ('train/loss_fd' in logged) == held
    assert (tmp_path / 'runs' / name.removesuffix('.yaml') / 'model.safetensors').is_file()
    trainer.test(task, datamodule=data, verbose=False)
    targets = {s.target.name for s in settings_of(name.partition('-')[0]) if s.crosses_domains}
    assert targets <= task.confusion.keys() <= targets | {'source'}
    assert all(int(counts.sum()) > 0 for counts in task.confusion.values())


@pytest.mark.parametrize('source', [s.source.name for s in SETTINGS.values()])
def test_values_are_those_of_tables_13_and_14(source):
    for setting in settings_of(source):
        task = training_recipe(source)['model']['init_args']['method']['init_args']
        for part, masking in (('style', setting.styled), ('mask', setting.masked)):
            given = task[part]['init_args']
            assert (given['ratio'], given['patch_size']) == (masking.tau, masking.patch_px)
        assert task['mim_norm'] == setting.mim_loss


def test_schedules_are_those_of_the_release():
    small = training_recipe('potsdam_irrg')['model']['init_args']
    assert (small['lr'], small['warmup_steps'], small['decay_steps']) == (1e-4, 0, 40_000)
    large = training_recipe('loveda_urban')['model']['init_args']
    assert (large['lr'], large['warmup_steps'], large['decay_steps']) == (6e-5, 10_000, 40_000)
    assert training_recipe('casid_subms', 'table8_rein')['trainer']['max_steps'] == 20_000
    short = training_recipe('loveda_urban', variation=Variation(steps=3000))
    assert short['trainer']['max_steps'] == 3000
    task = short['model']['init_args']
    assert (task['warmup_steps'], task['decay_steps']) == (1000, 4000)


@pytest.mark.parametrize('name', ['daformer', 'hrda'])
def test_schedules_of_daformer_and_hrda_are_those_of_their_authors(name):
    recipe = training_recipe('deepglobe_road', name)
    task = recipe['model']['init_args']
    assert task['method']['init_args']['weight'] == 0.005  # of the feature distance
    rates = [task[key] for key in ('lr', 'decoder_lr_scale', 'weight_decay', 'power')]
    assert rates == [6e-5, 10.0, 0.01, 1.0]
    assert (task['warmup_steps'], task['decay_steps']) == (1500, 40_000)
    assert recipe['trainer']['max_steps'] == 40_000
    data = recipe['data']['init_args']
    assert (data['batch_size'], data['rare_class_temperature']) == (2, 0.01)
    same = training_recipe('deepglobe_road', name, variation=Variation(steps=40_000))
    assert same == recipe  # their own length changes nothing
    short = training_recipe('deepglobe_road', name, variation=Variation(steps=400, batch_size=1))
    task = short['model']['init_args']
    assert (task['warmup_steps'], task['decay_steps']) == (15, 400)
    assert short['data']['init_args']['batch_size'] == 1


def test_layers_of_mtp_learn_at_the_rates_of_their_authors():
    task = training_recipe('deepglobe_road', 'mtp_upernet')['model']['init_args']
    rates = [task[key] for key in ('lr', 'layer_decay', 'weight_decay', 'warmup_steps')]
    assert rates == [6e-5, 0.9, 0.05, 1500]


def test_small_learning_rates_come_back_as_numbers():
    """YAML 1.1 reads 6e-05 as a word."""
    assert yaml.safe_load(format_recipe('loveda_urban'))['model']['init_args']['lr'] == 6e-5
    assert '6.0e-05' in format_recipe('loveda_urban')


def test_yaml_and_values_are_equal_and_hold_no_references():
    for name, text in PUBLISHED.items():
        source, _, method = name.removesuffix('.yaml').partition('-')
        assert yaml.safe_load(text) == training_recipe(source, method)
        assert '&' not in text.split('seed_everything', 1)[1]


def test_fingerprints_tell_what_is_learnt_and_not_where():
    base = fingerprint(training_recipe('potsdam_irrg'))
    alike = {'seed': 3}, {'files': Files(data='elsewhere')}
    other = (
        {'method': 'rein'},
        {'files': Files(style='other.safetensors')},
        {'variation': Variation(styled=Masking(0.1, 16))},
        {'variation': Variation(steps=100)},
    )
    assert {fingerprint(training_recipe('potsdam_irrg', **given)) for given in alike} == {base}
    marks = [fingerprint(training_recipe('potsdam_irrg', **given)) for given in other]
    assert len({base, *marks}) == 5
    assert len({fingerprint(yaml.safe_load(text)) for text in PUBLISHED.values()}) == len(PUBLISHED)


def test_callbacks_count_where_they_change_what_is_scored():
    recipe = training_recipe('potsdam_irrg')
    base = fingerprint(recipe)
    callbacks = recipe['trainer']['callbacks']
    del callbacks[0]
    callbacks.append({'class_path': 'lightning.pytorch.callbacks.LearningRateMonitor'})
    assert fingerprint(recipe) == base
    average = {'class_path': 'crossearth.trainers.AverageWeights', 'init_args': {'decay': 0.9}}
    marks = {base}
    for given in (average, [*callbacks, average], [{**average, 'init_args': {'decay': 0.99}}]):
        recipe['trainer']['callbacks'] = given
        marks.add(fingerprint(recipe))
    assert len(marks) == 3  # one callback alone is a list of one


def test_own_files_take_the_place_of_the_published_ones(styles):
    files = Files(data='/d', dinov2='v.pth', casid_labels='one_based', **styles)
    recipe = training_recipe('casid_subms', files=files)
    task = recipe['model']['init_args']['method']['init_args']
    assert task['model']['init_args']['pretrained'] == 'v.pth'
    assert task['style']['init_args']['predictor'] == styles['predictor']
    train = recipe['data']['init_args']['train']['init_args']
    assert (train['root'], train['label_encoding']) == ('/d/casid', 'one_based')


def test_parts_that_a_recipe_names_are_those_of_the_paper(archives, styles, small_backbones):
    recipe = shrunk(training_recipe('potsdam_irrg'), archives, styles)
    task = build_training(recipe).task.method
    assert isinstance(task.style, EarthStyleInjection)
    assert (task.style.patch_size, task.style.alpha) == (64, 0.1)
    assert (task.mask.ratio, task.mask.patch_size) == (0.7, 64)
    assert isinstance(task.mask, PatchMask)
    assert isinstance(task.mask.prompt, torch.nn.Parameter)
    # zero in the model's normalised units, where the release starts
    prompt = task.model.normalize(task.mask.prompt.detach()[None])
    assert torch.allclose(prompt, torch.zeros(1, 3, 1, 1), atol=1e-7)


def test_mistakes_name_what_is_there(tmp_path):
    with pytest.raises(ConfigError, match='is not a source domain: expected one of potsdam_irrg'):
        training_recipe('rescuenet_5c')
    with pytest.raises(ConfigError, match='expected one of crossearth, rein'):
        training_recipe('potsdam_irrg', 'best')
    with pytest.raises(ConfigError, match='expected at least 1'):
        Variation(steps=0)
    with pytest.raises(ConfigError, match='does not exist: check the path of the recipe'):
        read_recipe(tmp_path / 'none.yaml')
    (tmp_path / 'bad.yaml').write_text('model: [')
    with pytest.raises(ConfigError, match=r'bad\.yaml is not YAML'):
        read_recipe(tmp_path / 'bad.yaml')
    (tmp_path / 'bad.yaml').write_text('model: {}\n')
    with pytest.raises(ConfigError, match='has no data'):
        read_recipe(tmp_path / 'bad.yaml')
    recipe = training_recipe('potsdam_irrg', 'cnn')
    recipe['model']['init_args']['method']['init_args']['model']['class_path'] = (
        'crossearth.models.none'
    )
    with pytest.raises(ConfigError, match=r'crossearth\.models\.none'):
        build_training(recipe)


def test_the_command_line_writes_a_recipe(tmp_path, capsys):
    words = ['benchmark', 'recipe', 'potsdam_irrg', '--method', 'rein', '--root', 'archives']
    assert main([*words, '--output', str(tmp_path / 'a.yaml')]) == 0
    made = read_recipe(tmp_path / 'a.yaml')
    assert made == training_recipe('potsdam_irrg', 'rein', files=Files(data='archives'))
    assert main([*words, '--steps', '30']) == 0
    assert 'max_steps: 30\n' in capsys.readouterr().out
    assert main(['benchmark', 'recipe', '--all', str(tmp_path / 'all')]) == 0
    assert {path.name for path in (tmp_path / 'all').iterdir()} == PUBLISHED.keys()
    capsys.readouterr()
    assert main(['benchmark', 'methods']) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(METHODS)
    assert main(['benchmark', 'recipe']) == 2
    assert 'no domain to train on was named' in capsys.readouterr().err
