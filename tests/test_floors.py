"""The house: imports go down only, and the runtime stays light."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_imports_go_downwards_only() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_runtime_loads_neither_training_nor_tensorflow_nor_qt() -> None:
    code = (
        "import sys, nox_runtime.cli, nox_runtime.batch, nox_runtime.images\n"
        "heavy = {'nox_train', 'tensorflow', 'keras', 'qtpy', 'PyQt6', 'PySide6', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_neither_numpy_nor_onnxruntime() -> None:
    code = (
        "import sys\nfrom nox_runtime.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'onnxruntime', 'astropy'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


#: Siril wants a script in one file, its window included.
ONE_FILE = "plugins/siril/nox_star_removal.py"


def test_modules_stay_short() -> None:
    long = [
        (str(path.relative_to(ROOT)), n)
        for folder in ("nox_runtime", "nox_train", "plugins", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (n := len(path.read_text().splitlines())) >= 400
        and path.relative_to(ROOT).as_posix() != ONE_FILE
    ]
    assert not long
