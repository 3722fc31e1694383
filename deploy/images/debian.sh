#!/bin/sh
# Make a base image of Debian's own packages, for a house that takes nothing from a public registry.
#
#   deploy/images/debian.sh ROOT.tar [SUITE [MIRROR]]      trixie by default: Python 3.13
#
# Needs mmdebstrap. The same packages and SOURCE_DATE_EPOCH give the same file; for the same packages in a year's time
# name a snapshot as MIRROR, e.g. http://snapshot.debian.org/archive/debian/20261101T000000Z.
set -eu
out=$1 suite=${2:-trixie} mirror=${3:-http://deb.debian.org/debian}

case $mirror in
*snapshot*) updates='' ;;
*) updates="deb http://deb.debian.org/debian-security $suite-security main" ;;
esac
# shellcheck disable=SC2086  # no third source where there is none
mmdebstrap --variant=minbase --format=tar \
  --include=ca-certificates,python3-minimal,python3-venv,python-is-python3 \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  "$suite" "$out" "deb $mirror $suite main" ${updates:+"$updates"}
