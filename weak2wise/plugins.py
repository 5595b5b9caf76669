"""Objects that a config names by their import path, ``module:attribute``."""

from importlib import import_module
from typing import Any

from weak2wise.errors import ConfigError


def load_object(path: str, key: str) -> Any:
    """The object at an import path that the config key ``key`` holds.

    Raises:
        ConfigError: naming the key, the path and why it cannot be loaded.
    """
    module, _, attribute = path.partition(":")
    if not module or not attribute:
        raise ConfigError(f"{key}: expected an import path module:attribute, got {path!r}")
    try:
        found: Any = import_module(module)
    except Exception as error:  # whatever somebody else's module raises
        raise ConfigError(f"{key}: {path}: the module cannot be imported: {type(error).__name__}: {error}") from error
    try:
        for name in attribute.split("."):
            found = getattr(found, name)
    except AttributeError:
        raise ConfigError(f"{key}: {path}: the module {module} has no {attribute}") from None
    return found
