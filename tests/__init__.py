"""A package, so that ``tests.success`` is found here where another project has installed its own ``tests``."""
