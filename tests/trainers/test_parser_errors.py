"""Mistakes in a recipe are told in one short line."""

import copy

import pytest

from crossearth.errors import ConfigError
from crossearth.trainers import check_recipe
from crossearth.trainers.parser_errors import complaint

LABELS = {'name': 'r', 'classes': ['a', 'b'], 'palette': [[0, 0, 0], [255, 0, 0]]}
RECIPE = {
    'model': {
        'class_path': 'crossearth.trainers.TrainingTask',
        'init_args': {
            'lr': 0.01,
            'method': {
                'class_path': 'crossearth.trainers.SourceOnly',
                'init_args': {
                    'model': {
                        'class_path': 'crossearth.models.adapted_fpn',
                        'init_args': {'name': 'resnet10t', 'adapter': 'lora', 'num_classes': 2},
                    },
                    'labels': LABELS,
                },
            },
        },
    },
    'data': {
        'class_path': 'crossearth.datasets.ShiftDataModule',
        'init_args': {
            'train': {
                'class_path': 'crossearth.datasets.FolderDataset',
                'init_args': {
                    'images': 'images',
                    'masks': 'masks',
                    'labels': LABELS,
                },
            },
            'size_px': 64,
        },
    },
    'trainer': {},
}
MODEL = ('model', 'init_args')
NETWORK = (*MODEL, 'method', 'init_args', 'model', 'init_args')
DATA = ('data', 'init_args')
TRAIN = (*DATA, 'train', 'init_args')


def test_the_recipe_itself_is_right() -> None:
    check_recipe(RECIPE)


@pytest.mark.parametrize(
    ('place', 'value', 'told'),
    [
        ((*MODEL, 'lr'), 'fast', 'model.lr is fast: expected float'),
        ((*NETWORK, 'width'), 'wide', 'model.method.model.width is wide: expected int'),
        (
            (*NETWORK, 'adapter'),
            'lara',
            r"model.method.model.adapter is lara: expected one of 'frozen', 'full', 'lora'",
        ),
        ((*DATA, 'gsd_m'), ['a', 1], r"data.gsd_m is \['a', 1\]: expected one of float, tuple"),
        ((*TRAIN, 'bands'), 'red', r'data.train.bands is red: expected one of Sequence\[int\]'),
        ((*TRAIN, 'hold_out'), {'bxs': 1}, r"hold_out: .*HoldOut: Option 'bxs' is not accepted"),
        (
            (*TRAIN, 'hold_out'),
            'x',
            r'hold_out is x: expected HoldOut or null \(an',
        ),
        (
            (*DATA, 'augment'),
            [{'class_path': 'crossearth.transforms.RandomScaleCrop'}],
            r'augment: .*RandomScaleCrop: the following arguments are required: size_px',
        ),
        (
            (*DATA, 'augment'),
            [
                {'class_path': 'kornia.augmentation.RandomHorizontalFlip'},
                {'class_path': 'crossearth.transforms.RandConf'},
            ],
            r"data.augment: crossearth.transforms.RandConf: module .* has no attribute 'RandConf'",
        ),
        (
            (*DATA, 'augment'),
            [{'class_path': 'kornia.augmentation.RandomVerticalFlip', 'init_args': {'p': 'often'}}],
            r'is often: expected float \(an argument of kornia.augmentation.RandomVerticalFlip\)',
        ),
        (
            ('trainer', 'callbacks'),
            [
                {'class_path': 'lightning.pytorch.callbacks.ModelCheckpoint'},
                {'class_path': 'crossearth.trainers.SaveModel'},
            ],
            r'callbacks: .*SaveModel: the following arguments are required: path',
        ),
        (('model', 'class_path'), 'crossearth.trainers.Task', r"model: .*no attribute 'Task'"),
        ((*DATA, 'gsd_m'), 'x' * 300, r'data.gsd_m is x{80} …: expected one of float, '),
    ],
)
def test_a_mistake_names_its_place_its_value_and_what_is_expected(
    place: tuple[str, ...], value: object, told: str
) -> None:
    recipe: dict[str, object] = copy.deepcopy(RECIPE)
    section = recipe
    for name in place[:-1]:
        section = section[name]  # type: ignore[assignment]
    section[place[-1]] = value
    with pytest.raises(ConfigError, match=told) as error:
        check_recipe(recipe)
    assert len(str(error.value)) < 250


def test_other_texts_stay_as_they_are() -> None:
    assert complaint(ValueError('no such\n  thing')) == 'no such thing'
