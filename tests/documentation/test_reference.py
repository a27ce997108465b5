"""Which names the reference has, and what running text has to look like to link to them."""

import importlib
import pkgutil
from functools import cached_property
from types import ModuleType, SimpleNamespace

import pytest
import reference
from name_links import find_name, names_of
from reference_values import shown_value

import crossearth
from crossearth import benchmark, datasets, mosaic
from crossearth.labels import ISPRS

INTERNAL = {'crossearth.commands', 'crossearth.commands.benchmark', 'crossearth.models.weights'}


@pytest.fixture(scope='module')
def symbols():
    return reference.public_symbols()


@pytest.fixture(scope='module')
def names(symbols):
    return names_of(symbols)


def test_every_package_is_in_the_reference():
    packages = {
        module.name
        for module in pkgutil.walk_packages(crossearth.__path__, 'crossearth.')
        if module.ispkg
    }
    assert packages - INTERNAL <= set(reference.PACKAGES)


@pytest.mark.parametrize('package', reference.PACKAGES)
def test_every_public_name_is_in_the_table_of_its_package(package, symbols):
    module = importlib.import_module(package)
    offered = {
        name
        for name in set(module.__all__) - {'__version__'}
        if not isinstance(getattr(module, name), ModuleType)
    }
    assert set(symbols[package]) == offered
    for name, symbol in symbols[package].items():
        home = importlib.import_module(symbol.package)
        assert getattr(home, symbol.name) is getattr(module, name)


def test_a_name_that_several_packages_offer_has_one_page(symbols):
    assert symbols['crossearth']['FolderDataset'].full_name == 'crossearth.datasets.FolderDataset'
    assert symbols['crossearth.trainers.methods']['SourceOnly'].package == 'crossearth.trainers'


def test_file_names_of_pages_differ_where_case_does_not_count(symbols):
    pages = {symbol.full_name for found in symbols.values() for symbol in found.values()}
    assert len({page.lower() for page in pages}) == len(pages)


def test_values_are_documented_by_the_string_below_them(symbols):
    isprs = symbols['crossearth.archives']['CASID_CLASSES']
    assert isprs.source == 'crossearth.archives.casid.CASID_CLASSES'
    page = reference._symbol_page(isprs)
    assert 'The five classes of CASID, in its colours.' in page


def test_properties_have_no_colon_in_their_first_line(symbols):
    """Sphinx would take what stands before it for the type."""
    wrong = [
        f'{symbol.full_name}.{name}'
        for names in symbols.values()
        for symbol in names.values()
        if symbol.kind == 'class'
        for name, member in vars(
            getattr(importlib.import_module(symbol.package), symbol.name)
        ).items()
        if isinstance(member, property | cached_property)
        if not name.startswith('_') and ': ' in (member.__doc__ or '').partition('\n')[0]
    ]
    assert not wrong


def test_pages_of_names_that_are_gone_are_removed_and_others_left_alone(tmp_path):
    app = SimpleNamespace(srcdir=tmp_path)
    reference.write_reference(app)
    folder = tmp_path / reference.FOLDER
    page = folder / 'crossearth.labels.ISPRS.rst'
    before = page.stat().st_mtime_ns
    (folder / 'crossearth.labels.GONE.rst').write_text('gone')
    reference.write_reference(app)
    assert not (folder / 'crossearth.labels.GONE.rst').exists()
    assert page.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ('text', 'full_name'),
    [
        ('FolderDataset', 'crossearth.datasets.FolderDataset'),
        ('crossearth.FolderDataset', 'crossearth.datasets.FolderDataset'),
        ('crossearth.trainers.methods.SourceOnly', 'crossearth.trainers.SourceOnly'),
        ('Windows(scales=(1, 0.5))', 'crossearth.inference.Windows'),
        ('Segmenter.encode', 'crossearth.models.Segmenter.encode'),
        ('benchmark.Method', 'crossearth.benchmark.Method'),
        ('merged(model)', 'crossearth.models.merged'),
        ('crossearth.models.segmenter.Segmenter', 'crossearth.models.Segmenter'),
        ('Method', None),  # two packages have one each
        ('merged', None),  # may be a word
        ('--scales', None),
        ('crossearth predict', None),
        ('nobody.knows', None),
    ],
)
def test_inline_code_links_where_it_names_one_thing(text, full_name, names):
    assert find_name(text, names) == full_name


def test_pages_of_values_show_what_they_hold():
    assert '* - ``P(i)2V``\n     - gap ``region``' in shown_value(benchmark.SETTINGS)
    assert '* - ``Potsdam``\n     - :py:obj:`Potsdam`' in shown_value(datasets.ARCHIVE_DATASETS)
    assert '* - 1\n     - building\n     - #0000ff' in shown_value(ISPRS)
    assert shown_value(benchmark.TAUS) == 'Value: ``(0.1, 0.3, 0.5, 0.7, 0.9)``\n'
    assert shown_value(mosaic.Rule).startswith("One of ``'first'``, ")
    assert '- Table 8: ' in shown_value(benchmark.ABLATIONS)


def test_pages_of_values_hold_no_addresses_in_memory(symbols):
    for names in symbols.values():
        for symbol in names.values():
            if symbol.kind == 'data':
                value = getattr(importlib.import_module(symbol.package), symbol.name)
                assert ' at 0x' not in shown_value(value)
