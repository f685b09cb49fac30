#!/bin/sh
# Install what the tests need of the system: apt when root, otherwise say what.
set -eu
missing=""
# fpack makes compressed FITS files that no Python code of ours has touched.
command -v fpack >/dev/null 2>&1 || missing="$missing libcfitsio-bin"

# A window that nobody sees, for the napari tests; without these they skip.
display=""
command -v xvfb-run >/dev/null 2>&1 || display="$display xvfb xauth"
if command -v ldconfig >/dev/null 2>&1; then
    known=$(ldconfig -p)
    while read -r library package; do
        case "$known" in *"$library"*) ;; *) display="$display $package" ;; esac
    done <<LIST
libGL.so.1 libgl1
libEGL.so.1 libegl1
libglib-2.0.so.0 libglib2.0-0
libfontconfig.so.1 libfontconfig1
libxkbcommon-x11.so.0 libxkbcommon-x11-0
libxcb-cursor.so.0 libxcb-cursor0
libxcb-icccm.so.4 libxcb-icccm4
libxcb-keysyms.so.1 libxcb-keysyms1
libxcb-shape.so.0 libxcb-shape0
libdbus-1.so.3 libdbus-1-3
LIST
fi

# Unpacks the real Sirils of the Siril tests; without it they skip.
command -v mmdebstrap >/dev/null 2>&1 || display="$display mmdebstrap"
[ -z "$missing$display" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    install="env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -qq -y --no-install-recommends"
    apt-get -o DPkg::Lock::Timeout=300 update -qq
    [ -z "$missing" ] || $install $missing >/dev/null
    [ -z "$display" ] || $install $display >/dev/null ||
        echo "No window for napari, or no real Siril (could not install:$display)" >&2
    exit 0
fi
[ -z "$display" ] ||
    echo "For the tests of napari and Siril, please install these system packages:$display" >&2
if [ -n "$missing" ]; then
    echo "The tests need these system packages; please install them:$missing" >&2
    exit 1
fi
