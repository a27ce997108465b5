"""Commands of the command line, one module each.

A module has two functions: `add_arguments(parser)` declares what the command takes, and
`run(arguments)` does it and returns what is to be printed, if anything. What a command needs is
imported when it runs, so that asking for help is instant.
"""

__all__: list[str] = []
