import json
import math
import resource
from dataclasses import asdict

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from crossearth.appearance import Appearance
from crossearth.calibration import Calibration, ClassCalibration
from crossearth.errors import CheckpointError, ConfigError, LabelError, WriteError
from crossearth.imagery import Imagery
from crossearth.labels import ISPRS, ROAD
from crossearth.models import fpn_timm, load_model, read_model_info, rein_vit_fpn, save_model
from crossearth.models.weights.adaptation_record import AdaptationRecord
from crossearth.models.weights.pretrained import create_timm
from crossearth.source_statistics import FeatureStatistics, SourceStatistics


@pytest.fixture
def small():
    return fpn_timm('resnet10t', num_classes=6, width=16)


@pytest.fixture
def vit_weights(tmp_path):
    torch.manual_seed(0)
    vit = create_timm('vit_tiny_patch16_224', img_size=32, num_classes=0)
    return save_state(vit, tmp_path / 'vit.safetensors')


def save_state(model, path):
    save_file(model.state_dict(), path)
    return str(path)


def rein(pretrained):
    return rein_vit_fpn(
        'vit_tiny_patch16_224', num_classes=6, img_size=32, width=16, pretrained=pretrained
    )


def edit_header(path, **changes):
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    save_file(load_file(path), path, {**metadata, **changes})


def edit_model(path, **changes):
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['model'])
    edit_header(path, model=json.dumps({**header, **changes}))


def edit_arguments(path, changes):
    blueprint = read_model_info(path).blueprint
    arguments = {**blueprint.arguments, **changes}
    edit_model(path, blueprint={'builder': blueprint.builder, 'arguments': arguments})


def test_loaded_model_gives_the_same_logits(small, tmp_path):
    image = torch.rand(2, 3, 40, 50)
    small(image)  # moves the statistics of the batch norms
    save_model(
        small, tmp_path / 'm.safetensors', labels=ISPRS, bands=('r', 'g', 'b'), gsd_m=0.05,
        value_range=(0, 3000),
    )  # fmt: skip
    again = load_model(tmp_path / 'm.safetensors')
    assert not again.training
    assert torch.equal(again(image), small.eval()(image))
    info = read_model_info(tmp_path / 'm.safetensors')
    assert info.labels == ISPRS
    assert info.bands == ('r', 'g', 'b')
    assert info.gsd_m == 0.05
    assert info.value_range == (0.0, 3000.0)
    assert info.blueprint == small.blueprint == again.blueprint
    assert info.complete


def test_files_of_before_there_were_ranges_are_read(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors', gsd_m=0.3)
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['model'])
    assert header.pop('value_range') is None
    assert header.pop('gsd_range_m') is None
    edit_header(path, model=json.dumps(header))
    info = read_model_info(path)
    assert (info.gsd_m, info.gsd_range_m, info.value_range) == (0.3, None, None)
    edit_header(path, model=json.dumps({**header, 'value_range': [1]}))
    with pytest.raises(CheckpointError, match='damaged header'):
        read_model_info(path)


def test_a_model_of_several_ground_sampling_distances_says_so(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors', gsd_m=0.3, gsd_range_m=(0.2, 1))
    assert read_model_info(path).gsd_m == 0.3
    assert read_model_info(path).gsd_range_m == (0.2, 1.0)
    save_model(small, path, gsd_range_m=(0.5, 0.5))
    assert read_model_info(path).gsd_m is None
    assert read_model_info(path).gsd_range_m == (0.5, 0.5)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'gsd_m': 0.0}, 'finite metres above 0'),
        ({'gsd_m': -0.3}, 'finite metres above 0'),
        ({'gsd_m': math.nan}, 'finite metres above 0'),
        ({'gsd_m': math.inf}, 'finite metres above 0'),
        ({'gsd_range_m': (0.1, math.inf)}, 'finite metres above 0'),
        ({'gsd_range_m': (0.0, 1.0)}, 'finite metres above 0'),
        ({'gsd_range_m': (1.0, 0.5)}, 'the finest first'),
        ({'gsd_m': 0.1, 'gsd_range_m': (0.2, 1.0)}, 'gsd_m within the range'),
        ({'gsd_m': 1.1, 'gsd_range_m': (0.2, 1.0)}, 'gsd_m within the range'),
    ],
)
def test_ground_sampling_distances_that_cannot_be_are_refused(small, tmp_path, given, message):
    path = tmp_path / 'm.safetensors'
    with pytest.raises(ConfigError, match=message):
        save_model(small, path, **given)
    assert not path.exists()
    save_model(small, path)
    edit_model(path, **given)
    with pytest.raises(CheckpointError, match=rf'damaged header .*{message}'):
        read_model_info(path)


@pytest.mark.parametrize('given', [{'gsd_m': '0.3'}, {'gsd_range_m': 3}, {'gsd_range_m': [1]}])
def test_ground_sampling_distances_that_are_not_numbers_are_refused(small, tmp_path, given):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_model(path, **given)
    with pytest.raises(CheckpointError, match='damaged header'):
        read_model_info(path)


def test_a_model_that_diverged_is_not_written(small, tmp_path):
    small.decoder.classify.bias.data[2] = math.nan
    with pytest.raises(CheckpointError, match=r"NaN or infinite .* 'decoder\.classify\.bias'"):
        save_model(small, tmp_path / 'm.safetensors')
    assert not (tmp_path / 'm.safetensors').exists()


def test_weights_in_a_file_that_are_not_finite_are_refused(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors')
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors['decoder.classify.bias'][0] = -math.inf
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=r"NaN or infinite .* 'decoder\.classify\.bias'"):
        load_model(path)


def test_a_header_cannot_wave_other_frozen_weights_through(vit_weights, tmp_path):
    """A mark that is NaN agrees with any weights, as comparisons with NaN are all false."""
    path = save_model(rein(vit_weights), tmp_path / 'm.safetensors')
    marks = read_model_info(path).frozen_marks
    edit_model(path, frozen_marks=dict.fromkeys(marks, math.nan))
    with pytest.raises(CheckpointError, match=r'damaged header .*frozen_marks are not finite'):
        load_model(path)
    edit_model(path, frozen_marks={**marks, 'decoder.stray': 1.0})
    with pytest.raises(CheckpointError, match=r"other frozen weights .* 'decoder\.stray'"):
        load_model(path)


@pytest.mark.parametrize('header', ['[' * 100_000, '[]', '{}', '3', 'null', '{"blueprint": 3}', ''])
def test_headers_of_another_build_are_refused(small, tmp_path, header):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_header(path, model=header)
    with pytest.raises(CheckpointError, match='damaged header'):
        read_model_info(path)


def test_names_in_a_header_cannot_command_the_terminal(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_model(path, blueprint={'builder': 'x\x1b[2J\x07\nok', 'arguments': {}})
    with pytest.raises(CheckpointError) as caught:
        load_model(path)
    assert str(caught.value).isprintable()
    assert r'\x1b[2J' in str(caught.value)


def test_file_holds_the_trainable_part_only(vit_weights, tmp_path):
    model = rein(vit_weights)
    path = save_model(model, tmp_path / 'm.safetensors')
    names = set(load_file(path))
    assert names == {n for n, p in model.named_parameters() if p.requires_grad} | {'mean', 'std'}
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(load_model(path)(image), model.eval()(image))


def test_random_frozen_weights_are_kept(tmp_path):
    model = rein(False)
    path = save_model(model, tmp_path / 'm.safetensors')
    image = torch.rand(1, 3, 32, 48)
    assert torch.equal(load_model(path)(image), model.eval()(image))
    with pytest.raises(CheckpointError, match='frozen weights of this model are random'):
        save_model(model, path, trainable_only=True)


def test_frozen_weights_move_with_pretrained(vit_weights, tmp_path):
    model = rein(vit_weights)
    path = save_model(model, tmp_path / 'm.safetensors')
    elsewhere = (tmp_path / 'vit.safetensors').rename(tmp_path / 'moved.safetensors')
    message = r'm.safetensors holds only .*no weights file at .*vit.safetensors.*--pretrained PATH'
    with pytest.raises(CheckpointError, match=message):
        load_model(path)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(load_model(path, pretrained=elsewhere)(image), model.eval()(image))


def test_other_frozen_weights_are_noticed(vit_weights, tmp_path):
    path = save_model(rein(vit_weights), tmp_path / 'm.safetensors')
    torch.manual_seed(1)
    other = create_timm('vit_tiny_patch16_224', img_size=32, num_classes=0)
    save_state(other, vit_weights)
    with pytest.raises(CheckpointError, match='trained with other frozen weights'):
        load_model(path)


def test_a_loaded_model_is_saved_with_what_its_file_knew(small, tmp_path):
    knew = {'labels': ISPRS, 'bands': (4, 3, 2), 'gsd_m': 0.5, 'gsd_range_m': (0.25, 1.0)}
    first = save_model(small, tmp_path / 'a.safetensors', **knew, value_range=(0, 4000))
    again = save_model(load_model(first), tmp_path / 'b.safetensors')
    assert read_model_info(again).imagery == read_model_info(first).imagery
    # what is stated describes another imagery, of which the rest is not known
    other = save_model(load_model(first), tmp_path / 'c.safetensors', labels=ISPRS)
    assert read_model_info(other).imagery == Imagery(labels=ISPRS)


def test_complete_file_needs_no_pretrained_weights(small, tmp_path):
    weights = create_timm('resnet10t')
    source = save_state(weights, tmp_path / 'backbone.safetensors')
    model = fpn_timm('resnet10t', num_classes=2, width=16, pretrained=source)
    path = save_model(model, tmp_path / 'm.safetensors')
    (tmp_path / 'backbone.safetensors').unlink()
    assert torch.equal(load_model(path).decoder.classify.weight, model.decoder.classify.weight)


def test_model_put_together_by_hand_names_its_builder(small, tmp_path):
    arguments = dict(small.blueprint.arguments)
    small.blueprint = None
    with pytest.raises(ConfigError, match='it is unknown how this model was built'):
        save_model(small, tmp_path / 'm.safetensors')
    save_model(small, tmp_path / 'm.safetensors', builder='fpn_timm', arguments=arguments)
    assert load_model(tmp_path / 'm.safetensors').num_classes == 6


def test_files_that_call_the_blueprint_a_recipe_still_load(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors')
    with safe_open(path, framework='pt') as file:
        header = json.loads(file.metadata()['model'])
    header['recipe'] = header.pop('blueprint')
    edit_header(path, model=json.dumps(header))
    assert load_model(path).blueprint == small.blueprint


@pytest.mark.parametrize('builder', ['load_model', 'os.system', 'create_timm'])
def test_only_builders_build(small, tmp_path, builder):
    with pytest.raises(ConfigError, match='is not a builder of crossearth'):
        save_model(small, tmp_path / 'm.safetensors', builder=builder, arguments={})
    save_model(small, tmp_path / 'm.safetensors')
    header = json.dumps(
        {
            'blueprint': {'builder': builder, 'arguments': {}},
            'labels': None,
            'bands': None,
            'gsd_m': None,
            'complete': True,
            'frozen_marks': {},
        }
    )
    edit_header(tmp_path / 'm.safetensors', model=header)
    with pytest.raises(CheckpointError, match=f"names the builder '{builder}', expected one of"):
        load_model(tmp_path / 'm.safetensors')


def test_bands_are_names_or_numbers(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors', bands=(4, 1, 2))
    assert read_model_info(path).bands == (4, 1, 2)
    for wrong in (['r', 1], [0, 1], [True], [[1]]):
        edit_model(path, bands=wrong)
        with pytest.raises(CheckpointError, match=r'damaged header \(ValueError: bands are'):
            read_model_info(path)


def test_label_space_of_another_size_is_refused(small, tmp_path):
    with pytest.raises(LabelError, match="'road' has 2 classes, the model 6"):
        save_model(small, tmp_path / 'm.safetensors', labels=ROAD)


def test_arguments_that_are_no_json_are_refused(small, tmp_path):
    with pytest.raises(ConfigError, match='not JSON values'):
        save_model(
            small, tmp_path / 'm.safetensors', builder='fpn_timm', arguments={'name': object()}
        )


def test_a_place_that_cannot_be_written_to_is_one_error(small, tmp_path, monkeypatch):
    (tmp_path / 'folder.safetensors').mkdir()
    with pytest.raises(WriteError, match=r'folder.safetensors cannot be written \(Is a directory'):
        save_model(small, tmp_path / 'folder.safetensors')
    assert list(tmp_path.iterdir()) == [tmp_path / 'folder.safetensors']

    def fail(*_):  # as safetensors does: not an OSError
        raise SafetensorError('I/O error: No space left on device')

    monkeypatch.setattr('crossearth.tensor_files.save_file', fail)
    with pytest.raises(WriteError, match=r'm.safetensors cannot be written .*No space left'):
        save_model(small, tmp_path / 'm.safetensors')


def test_nothing_is_left_over_when_writing_fails(small, tmp_path, monkeypatch):
    path = save_model(small, tmp_path / 'm.safetensors')
    before = path.read_bytes()

    def fail(*_):
        raise OSError('disk full')

    monkeypatch.setattr('crossearth.tensor_files.save_file', fail)
    with pytest.raises(WriteError, match=r'm.safetensors cannot be written \(disk full\)'):
        save_model(small, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_file_that_is_no_safetensors_is_refused(tmp_path):
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / 'm.pth')
    with pytest.raises(CheckpointError, match=r'm.pth is not a complete safetensors file'):
        load_model(tmp_path / 'm.pth')


def test_missing_and_truncated_files_are_named(small, tmp_path):
    with pytest.raises(CheckpointError, match='no weights file at'):
        load_model(tmp_path / 'gone.safetensors')
    path = save_model(small, tmp_path / 'm.safetensors')
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r'm.safetensors is not a complete safetensors file'):
        load_model(path)


def test_weights_without_a_model_are_refused(tmp_path):
    save_state(nn.Linear(1, 1), tmp_path / 'w.safetensors')
    with pytest.raises(CheckpointError, match="format None, expected 'crossearth-model'"):
        load_model(tmp_path / 'w.safetensors')


def test_file_of_a_newer_version_is_refused(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_header(path, version='99')
    with pytest.raises(CheckpointError, match="has version '99', expected 1"):
        load_model(path)


def test_damaged_header_is_refused(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_header(path, model='{"blueprint": {}}')
    with pytest.raises(CheckpointError, match='damaged header'):
        load_model(path)


def test_weights_of_another_shape_name_both(small, tmp_path):
    arguments = {**small.blueprint.arguments, 'num_classes': 3}
    path = save_model(small, tmp_path / 'm.safetensors', builder='fpn_timm', arguments=arguments)
    with pytest.raises(
        CheckpointError, match=r'does not fit Segmenter: 2 of another shape .*weight \(6.* for \(3'
    ):
        load_model(path)


@pytest.mark.parametrize(
    ('change', 'message'),
    [('drop', r'1 missing \(decoder.classify.weight\)'), ('add', r'1 unknown \(stray \(1,\)\)')],
)
def test_missing_and_unknown_weights_are_named(small, tmp_path, change, message):
    path = save_model(small, tmp_path / 'm.safetensors')
    with safe_open(path, framework='pt') as file:
        metadata = file.metadata()
    tensors = load_file(path)
    if change == 'drop':
        del tensors['decoder.classify.weight']
    else:
        tensors['stray'] = torch.zeros(1)
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=message):
        load_model(path)


@pytest.mark.parametrize(
    'wrong',
    [
        {'num_classes': 'six'},
        {'mean': 'abc'},
        {'in_channels': -1},
        {'width': 0},
    ],
)
def test_header_of_a_model_that_cannot_be_built_is_named(small, tmp_path, wrong):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_arguments(path, wrong)
    with pytest.raises(CheckpointError, match=r'm\.safetensors names a model that cannot be built'):
        load_model(path)


@pytest.mark.parametrize('wrong', [{'num_classes': 10**12}, {'width': 10**7}])
def test_a_header_that_asks_for_more_than_the_weights_takes_no_memory(small, tmp_path, wrong):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_arguments(path, wrong)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r'does not fit Segmenter: .* of another shape'):
        load_model(path)
    # Linux counts in kB: a convolution of that width alone has terabytes
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


LOOKS = Appearance((0.5,) * 3, (0.1,) * 3, ((0.1,) * 5,) * 3, 0.1, 4)
KNOWN = SourceStatistics(
    LOOKS,
    (FeatureStatistics((1.0,), (2.0,)),),
    Calibration(1.5, 0.9, 0.9, 0.6, (ClassCalibration(None, 0.0, 0.5, 0.5),) * 6, 100),
)
RECORD = AdaptationRecord('norms', {'alpha': 0.5}, ('a.tif',), 3, 'f' * 64)


def test_what_a_file_remembers_of_its_source_and_of_adapting_comes_back(small, tmp_path):
    path = save_model(small, tmp_path / 'm.safetensors', source=KNOWN, adaptation=RECORD)
    info = read_model_info(path)
    assert (info.source, info.adaptation) == (KNOWN, RECORD)
    assert load_model(path).imagery.source == KNOWN
    older = save_model(small, tmp_path / 'older.safetensors')
    with safe_open(older, framework='pt') as file:
        header = json.loads(file.metadata()['model'])
    assert header.pop('source') is None
    assert header.pop('adaptation') is None
    edit_header(older, model=json.dumps(header))
    assert read_model_info(older).source is None


@pytest.mark.parametrize(
    'wrong',
    [
        {'source': {'appearance': 3}},
        {'source': 'x'},
        {'source': {**KNOWN.to_json(), 'calibration': {}}},
        {'source': {**KNOWN.to_json(), 'features': [{'mean': [math.nan], 'std': [1]}]}},
        {'source': {**KNOWN.to_json(), 'appearance': {**asdict(LOOKS), 'mean': [1]}}},
        {'adaptation': {'method': 'norms'}},
        {'adaptation': []},
    ],
)
def test_damaged_memories_are_refused(small, tmp_path, wrong):
    path = save_model(small, tmp_path / 'm.safetensors')
    edit_model(path, **wrong)
    with pytest.raises(CheckpointError, match='damaged header'):
        read_model_info(path)


@pytest.mark.parametrize('name', ['m.pth', 'm', 'm.safetensors.bak', '.'])
def test_names_by_which_a_model_would_not_be_known_are_refused(small, tmp_path, name):
    with pytest.raises(ConfigError, match=r'expected a name that ends in \.safetensors'):
        save_model(small, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'bands': [1, 2]}, r'bands are \[1, 2\], but the model takes 3'),
        ({'bands': []}, 'the model takes 3'),
        ({'bands': 'rgb'}, 'expected a list of names'),
        ({'bands': [0, 1, 2]}, r'bands are \[0, 1, 2\]: expected a list of names, or of numbers'),
        ({'value_range': (255, 0)}, 'value_range is .*the lower first'),
        ({'value_range': (0, math.inf)}, 'two finite numbers'),
        ({'value_range': (0, math.nan)}, 'two finite numbers'),
    ],
)
def test_imagery_that_prediction_would_refuse_is_not_written(small, tmp_path, given, message):
    with pytest.raises(ConfigError, match=message):
        save_model(small, tmp_path / 'm.safetensors', **given)


def test_weights_that_two_modules_share_come_back_in_both(tmp_path):
    model = fpn_timm('coat_lite_tiny', num_classes=2, width=8, img_size=64).eval()
    again = load_model(save_model(model, tmp_path / 'm.safetensors'))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(again(image), model(image))
