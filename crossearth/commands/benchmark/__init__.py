"""`crossearth benchmark list | show | methods | recipe | run | score | sweep | report`."""

from crossearth.commands.benchmark.actions import add_arguments, run

__all__ = ['add_arguments', 'run']
