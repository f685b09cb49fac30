"""nox-bench: a public, reproducible benchmark of star removal.

Floors, each importing only those above it in this list:

grid
    Which scenes there are: a grid drawn from one seed.
scene
    A scene with its truth: pictures, star table, galaxies; kept on disk as .npz.
light
    Star and galaxy light, rendered by galsim.
scenes
    Composes the scenes and keeps them in a cache.
figures, measures
    What is measured on arrays; what is measured on a scene.
removers, classical, peers
    Anything that removes stars: nox models, callables, ONNX files, commands.
real
    What can be measured on photographs without a truth.
crops
    Small pictures for the report.
suite
    Runs a remover over both parts and sums the figures up.
report, cli
    The HTML page and the command.

The renderer shares no code with nox_train.psf, stars, sensor and scenes, which make
the training pictures.
"""
