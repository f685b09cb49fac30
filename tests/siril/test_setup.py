"""What becomes of the tests of real Sirils where there can be none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from siril import real_siril
from siril.conftest import unavailable
from siril.real_siril import Unavailable


def test_no_siril_is_a_skip_unless_one_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOX_REQUIRE_SIRIL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no network"):
        unavailable(Unavailable("no network"))
    monkeypatch.setenv("NOX_REQUIRE_SIRIL", "1")
    with pytest.raises(pytest.fail.Exception, match="no network; NOX_REQUIRE_SIRIL is set"):
        unavailable(Unavailable("no network"))


def test_a_wheel_that_cannot_be_built_is_never_a_skip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_siril, "ROOT", tmp_path)
    with pytest.raises(RuntimeError, match="building the wheel failed"):
        real_siril.install_nox(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="real Siril is tested on Linux only")
def test_an_installed_siril_is_named_before_anything_is_set_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_siril, "LINK", tmp_path)
    with pytest.raises(Unavailable, match="a Siril is installed on this system"):
        real_siril.real_siril("sid", tmp_path / "scratch", tmp_path)
