"""Fixtures around real Sirils."""

from __future__ import annotations

from collections.abc import Callable
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


@pytest.fixture(scope="session")
def siril_of(
    tmp_path_factory: pytest.TempPathFactory, installed_nox: Path
) -> Callable[[str], RealSiril]:
    """A real siril-cli by the name of its Debian suite; skips where there can be none."""
    made: dict[str, RealSiril] = {}

    def get(suite: str) -> RealSiril:
        if suite not in made:
            try:
                scratch = tmp_path_factory.mktemp("siril")
                made[suite] = real_siril.real_siril(suite, scratch, installed_nox)
            except Unavailable as error:
                pytest.skip(str(error))
            oldest = tuple(int(part) for part in SUITES[suite].split("."))
            assert made[suite].version >= oldest
        return made[suite]

    return get


@pytest.fixture(scope="session", params=SUITES)
def siril(request: pytest.FixtureRequest, siril_of: Callable[[str], RealSiril]) -> RealSiril:
    """The oldest and the newest Siril of Debian's that run Python scripts."""
    return siril_of(request.param)


@pytest.fixture(scope="session")
def newest_siril(siril_of: Callable[[str], RealSiril]) -> RealSiril:
    """The newest alone."""
    return siril_of("sid")
