"""Fixtures around real Sirils."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from siril import real_siril
from siril.real_siril import SUITES, RealSiril, Unavailable


def unavailable(error: Unavailable) -> NoReturn:
    """Skip what needs a real Siril; where NOX_REQUIRE_SIRIL is set, as in CI, fail instead."""
    if os.environ.get("NOX_REQUIRE_SIRIL"):
        pytest.fail(f"{error}; NOX_REQUIRE_SIRIL is set, so this may not be left out")
    pytest.skip(str(error))


@pytest.fixture(scope="session")
def installed_nox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working tree's package as pip installs it."""
    return real_siril.install_nox(tmp_path_factory.mktemp("nox"))


@pytest.fixture(scope="session")
def sirilpy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to import the real sirilpy from, that of Debian's siril-common."""
    try:
        module = real_siril.sirilpy_folder()
    except Unavailable as error:
        unavailable(error)
    folder = tmp_path_factory.mktemp("sirilpy")
    real_siril.fill_site(module, folder)
    return folder


@pytest.fixture(scope="session")
def siril_of(
    tmp_path_factory: pytest.TempPathFactory, installed_nox: Path
) -> Callable[[str], RealSiril]:
    """A real siril-cli by the name of its Debian suite; see `unavailable`."""
    made: dict[str, RealSiril | Unavailable] = {}

    def get(suite: str) -> RealSiril:
        if suite not in made:
            try:
                scratch = tmp_path_factory.mktemp("siril")
                made[suite] = real_siril.real_siril(suite, scratch, installed_nox)
            except Unavailable as error:  # kept: each try may take minutes
                made[suite] = error
        siril = made[suite]
        if isinstance(siril, Unavailable):
            unavailable(siril)
        assert siril.version >= tuple(int(part) for part in SUITES[suite].split("."))
        return siril

    return get


@pytest.fixture(scope="session", params=SUITES)
def siril(request: pytest.FixtureRequest, siril_of: Callable[[str], RealSiril]) -> RealSiril:
    """The oldest and the newest Siril of Debian's that run Python scripts."""
    return siril_of(request.param)


@pytest.fixture(scope="session")
def newest_siril(siril_of: Callable[[str], RealSiril]) -> RealSiril:
    """The newest alone."""
    return siril_of("sid")
