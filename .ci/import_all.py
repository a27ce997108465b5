"""Import every module of the installed library: `import_all.py [FOLDER]`.

With a folder, the library has to come from there, and not from a checkout.
"""

import importlib
import pkgutil
import sys
from pathlib import Path

import crossearth

where = Path(crossearth.__file__).resolve()
if len(sys.argv) > 1 and not where.is_relative_to(Path(sys.argv[1]).resolve()):
    sys.exit(f'crossearth was imported from {where}, expected a folder below {sys.argv[1]}')
names = [module.name for module in pkgutil.walk_packages(crossearth.__path__, 'crossearth.')]
for name in names:
    importlib.import_module(name)
sys.stdout.write(f'{len(names)} modules imported from {where.parent}\n')
