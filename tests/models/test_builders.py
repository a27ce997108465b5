import doctest

import pytest

from crossearth.models import builders


@pytest.mark.parametrize('name', builders.__all__)
def test_the_example_of_each_builder_runs(name):
    """pytest's own collection takes what a decorator returns for another module's."""
    (example,) = doctest.DocTestFinder(recurse=False).find(
        getattr(builders, name), name, module=builders
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0
