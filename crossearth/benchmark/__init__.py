"""The RSDG benchmark."""

__all__: list[str] = []
