"""Commands of the command line; what they need is imported when they run."""

__all__: list[str] = []
