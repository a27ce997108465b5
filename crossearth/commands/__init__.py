"""Commands of the command line, one module each.

A module has two functions. `add_arguments(parser)` declares the arguments, and `run(arguments)`
does the work and returns the text to print, if any. Each command imports what it needs only when it
runs, so that `--help` is instant.
"""

__all__: list[str] = []
