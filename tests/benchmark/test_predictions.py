import numpy as np
import pytest
import rasterio
import torch

from crossearth.benchmark import DOMAINS, PredictionFiles, Protocol, encode_labels, evaluate
from crossearth.datasets import FolderDataset, Potsdam
from crossearth.errors import ConfigError
from crossearth.labels import ISPRS, ROAD, ColourCodec, IdCodec, ThresholdCodec
from crossearth.reports import domain_pictures
from tests.benchmark import trees
from tests.datasets import archive_trees


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    return trees.every_archive(tmp_path_factory.mktemp('archives'))


@pytest.mark.parametrize(
    'codec',
    [
        IdCodec.identity(3),
        IdCodec({0: 255, 1: 0, 2: 1, 3: 2, 4: 2}),
        ColourCodec({(255, 255, 255): 0, (0, 0, 255): 1, (0, 255, 0): 2, (0, 0, 0): 255}),
    ],
)
def test_what_is_encoded_is_read_back(codec):
    ids = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    decoded = codec.decode(encode_labels(ids, codec))
    assert np.array_equal(decoded.ids, ids)
    assert not decoded.unknown


def test_of_several_values_of_a_class_the_first_is_written():
    assert encode_labels(np.array([[2]], np.uint8), IdCodec({7: 2, 3: 2})).tolist() == [[[7]]]
    assert encode_labels(np.array([[0, 1]], np.uint8), ThresholdCodec()).tolist() == [[[0, 255]]]


def test_classes_and_codecs_that_cannot_be_written_are_named():
    with pytest.raises(ConfigError, match='class 5 has no value'):
        encode_labels(np.array([[5]], np.uint8), IdCodec.identity(2))

    class Reader:
        def decode(self, raw):
            raise NotImplementedError

    with pytest.raises(ConfigError, match='Reader can only read masks'):
        encode_labels(np.zeros((1, 1), np.uint8), Reader())


@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
@pytest.mark.parametrize('name', DOMAINS)
def test_predictions_of_every_domain_are_masks_of_that_domain(name, archives, tmp_path):
    """A model that always says class 1 makes label maps that the dataset reads as class 1."""
    domain = DOMAINS[name]
    role = 'test' if domain.part('test').labelled else 'train'
    options = {'label_encoding': 'colour'} if domain.folder == 'casid' else {}
    dataset = domain.open(archives / domain.folder, role, **options)
    k = domain.labels.num_classes

    def first(images):
        return torch.eye(k)[1].view(1, k, 1, 1).expand(len(images), k, *images.shape[2:])

    files = PredictionFiles(tmp_path / 'maps', dataset)
    protocol = Protocol(window_px=64, stride_px=43, chip_px=64)
    counts = evaluate(first, dataset, protocol, sink=files.add)
    files.finish()
    assert len(files.written) == len(dataset)
    for scene, path in zip(dataset.scenes, files.written, strict=True):
        with rasterio.open(path) as file:
            codec = scene.codec or dataset.codec
            assert (codec.decode(file.read()).ids == 1).all()
            assert file.transform == scene.transform
            assert (file.crs is None) == (domain.folder not in {'potsdam', 'vaihingen'})
            if scene.crs is not None:
                assert file.crs.to_epsg() == scene.crs.to_epsg()
    assert int(counts[:, 1].sum()) == int(counts.sum())


def test_maps_lie_in_the_tree_of_the_masks(tmp_path):
    archive_trees.potsdam(tmp_path / 'data', ['2_13'])
    dataset = Potsdam(tmp_path / 'data', split='test')
    files = PredictionFiles(tmp_path / 'maps', dataset)
    files.add(dataset.whole(0), torch.full((16, 16), 4, dtype=torch.uint8))
    files.finish()
    assert files.written == [
        tmp_path / 'maps' / '5_Labels_all_noBoundary' / 'top_potsdam_2_13_label_noBoundary.tif'
    ]
    with rasterio.open(files.written[0]) as file:
        assert (file.read() == np.array([255, 255, 0])[:, None, None]).all()  # cars are yellow
        assert file.crs.to_epsg() == 32633
        assert file.transform.c == 366_676.0


def test_chips_are_put_together_and_other_datasets_are_numbered(write_raster, tmp_path):
    write_raster('images/a.tif', np.zeros((3, 4, 6), np.uint8))
    write_raster('masks/a.tif', np.zeros((1, 4, 6), np.uint8))
    dataset = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ISPRS)
    files = PredictionFiles(tmp_path / 'maps', dataset)
    model = torch.nn.Conv2d(3, 6, 1)
    evaluate(
        lambda images: model(images),
        dataset,
        Protocol(window_px=4, stride_px=4, chip_px=4),
        sink=files.add,
    )
    files.finish()
    assert files.written == [tmp_path / 'maps' / '00000_a.tif']
    with rasterio.open(files.written[0]) as file:
        assert (file.read(1) == int(model.bias.argmax())).all()


COLOURS = ColourCodec({(0, 0, 0): 0, (255, 255, 255): 1})


@pytest.mark.parametrize('codec', [ThresholdCodec(), IdCodec({0: 0, 1: 1}), COLOURS])
def test_pixels_without_data_are_nodata_where_the_encoding_has_no_value_for_them(
    write_raster, tmp_path, codec
):
    write_raster('images/a.tif', np.zeros((3, 4, 6), np.uint8))
    bands = 3 if codec is COLOURS else 1
    write_raster('masks/a.tif', np.zeros((bands, 4, 6), np.uint8))
    dataset = FolderDataset(tmp_path / 'images', tmp_path / 'masks', labels=ROAD, codec=codec)
    ids = torch.zeros(4, 6, dtype=torch.uint8)
    ids[:, 1:3], ids[:, 3:] = 1, 255
    files = PredictionFiles(tmp_path / 'maps', dataset)
    files.add(dataset.whole(0), ids)
    files.finish()
    with rasterio.open(files.written[0]) as file:
        assert (file.dataset_mask() != 0).tolist() == (ids != 255).tolist()
    maps = {'plain': tmp_path / 'maps'}
    shown = domain_pictures('there', dataset, maps)
    assert np.array_equal(shown.scene.maps['plain'], ids.numpy())
