"""Fixtures around real Sirils."""

from __future__ import annotations

from pathlib import Path

import pytest
from siril import real_siril
from siril.real_siril import SUITES, RealSiril, Unavailable


@pytest.fixture(scope="session")
def installed_nox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's package as pip installs it."""
    try:
        return real_siril.install_nox(tmp_path_factory.mktemp("nox"))
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=SUITES)
def siril(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, installed_nox: Path
) -> RealSiril:
    """A real siril-cli: the oldest and the newest of Debian's that run Python scripts."""
    try:
        made = real_siril.real_siril(request.param, tmp_path_factory.mktemp("siril"), installed_nox)
    except Unavailable as error:
        pytest.skip(str(error))
    oldest = tuple(int(part) for part in SUITES[request.param].split("."))
    assert made.version >= oldest
    return made
