"""nox for napari: star removal, a FITS reader and a FITS writer.

The modules without Qt come first, each importing only those above it:
`messages`, `layers` (a layer's pixels), `display`, `fits_reader`, `fits_writer`,
`protect`, `job` (the work, in plain functions), `results` (layers from results),
`session` (what the panel knows).  `panel` and its parts are the only ones that
import Qt.
"""

from nox_runtime import __version__

__all__ = ["__version__"]
