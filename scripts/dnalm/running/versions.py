"""Which packages computed a result."""

import importlib.metadata

# Those that decide the numbers of a network.
NETWORK_PACKAGES = ("torch", "transformers", "numpy")


def versions(*packages: str) -> dict[str, str]:
    """Versions of the installed packages by name; without arguments those that decide a network's numbers."""
    return {package: importlib.metadata.version(package) for package in packages or NETWORK_PACKAGES}
