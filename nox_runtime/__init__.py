"""nox: remove the stars from astrophotographs.

The names below are imported when they are first used, so that `import
nox_runtime` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Removal", "StarRemover", "remove_stars", "run_file"]

if TYPE_CHECKING:
    from nox_runtime.batch import run_file
    from nox_runtime.removal import Removal, StarRemover, remove_stars


def __getattr__(name: str) -> Any:
    if name in ("Removal", "StarRemover", "remove_stars"):
        from nox_runtime import removal

        return getattr(removal, name)
    if name == "run_file":
        from nox_runtime.batch import run_file

        return run_file
    raise AttributeError(f"module 'nox_runtime' has no attribute {name!r}")
