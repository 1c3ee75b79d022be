"""Find plug-ins by file: every module in a package folder is one entry, imported only when it is asked for."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

from recsys_core.errors import unknown


def names(package: str) -> list[str]:
    """Module names in a package, without importing them; `base` and names with a leading underscore are not entries."""
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    return sorted(m.name for m in pkgutil.iter_modules([str(folder)]) if m.name != "base" and not m.name.startswith("_"))


def get(package: str, name: str, kind: str) -> ModuleType:
    """Import one entry. Raises UserError with the known names if there is none such."""
    if name not in names(package):
        raise unknown(kind, name, names(package))
    return import_module(f"{package}.{name}")
