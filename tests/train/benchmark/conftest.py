"""Two small scenes, made once: a colour picture as displayed and a linear mono one."""

from __future__ import annotations

import pytest

from nox_train.benchmark.grid import Spec
from nox_train.benchmark.scene import Scene

COLOUR = Spec(0, 2.0, "mtf", 3000.0, 0.008, 0, False, 2, 0.0, 192)
LINEAR = Spec(1, 2.6, "linear", 2500.0, 0.015, 4, True, 1, 0.5, 192)


def _made(spec: Spec) -> Scene:
    pytest.importorskip("galsim", reason="scenes need galsim (extra bench)")
    from nox_train.benchmark.scenes import compose

    return compose(spec)


@pytest.fixture(scope="session")
def colour() -> Scene:
    return _made(COLOUR)


@pytest.fixture(scope="session")
def linear() -> Scene:
    return _made(LINEAR)


@pytest.fixture(params=["colour", "linear"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """Each of the two."""
    return request.getfixturevalue(request.param)
