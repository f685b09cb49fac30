#!/bin/sh
# Install what the tests need of the system: apt when root, otherwise say what.
# fpack makes compressed FITS files that no Python code of ours has touched.
set -eu
missing=""
command -v fpack >/dev/null 2>&1 || missing="$missing libcfitsio-bin"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >/dev/null
else
    echo "The tests need these system packages; please install them:$missing" >&2
    exit 1
fi
