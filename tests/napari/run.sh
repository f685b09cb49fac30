#!/bin/sh
# Run the napari tests in a window that nobody sees: run.sh PYTHON [pytest options]
# Apart from the others, so that Qt and pytest-qt do not reach into those.
set -eu
python=$1
shift
options="-ra --strict-markers --import-mode=importlib"
# napari, npe2 and what they stand on deprecate among themselves, also while imported.
options="$options -W ignore::DeprecationWarning"
export LIBGL_ALWAYS_SOFTWARE=1
if [ -z "${DISPLAY:-}" ] && command -v xvfb-run >/dev/null 2>&1; then
    exec xvfb-run -a -s "-screen 0 1600x1200x24" "$python" -m pytest -o addopts="$options" tests/napari "$@"
fi
# Without any display the window tests skip and say why.
exec "$python" -m pytest -o addopts="$options" tests/napari "$@"
