"""Loads classes from outside this program, which a config names by import path: ``my_lab.scores:Shortest``."""

import importlib
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from weak2wise.errors import ConfigError


def load_object(path: str, key: str, base: type = object) -> type[Any]:
    """Load a class by its import path; the current folder is searched too, after all others.

    Args:
        path: ``module:Class``. The class has a ``version``, a text that its author changes whenever the class would
            give other results.
        key: the config key that names it, for messages.
        base: what the class must be a subclass of.

    Raises:
        ConfigError: the module cannot be imported, has no such attribute, or it is not such a class with a version.
    """
    module_name, _, name = path.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module_name.split("."))):
        raise ConfigError(f"{key}: expected an import path like my_lab.module:Class, found {path!r}")
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{key}: {module_name} cannot be imported: {type(error).__name__}: {said}; "
            "it must be installed, or be in the current folder or in PYTHONPATH"
        ) from error
    if not hasattr(module, name):
        near = get_close_matches(name, vars(module), n=1)
        raise ConfigError(f"{key}: {module_name} has no {name}" + (f"; did you mean {near[0]}?" if near else ""))
    found = getattr(module, name)
    if not isinstance(found, type):
        raise ConfigError(f"{key}: {path} is not a class")
    if not issubclass(found, base):
        raise ConfigError(f"{key}: {path} is not a subclass of weak2wise.{base.__name__}")
    version = getattr(found, "version", None)
    if not (isinstance(version, str) and version):
        raise ConfigError(f'{key}: {path} has no version; give the class one: version = "1"')
    return found
