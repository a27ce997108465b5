"""Pictures of samples and maps."""

__all__: list[str] = []
