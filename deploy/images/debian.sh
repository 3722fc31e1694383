#!/bin/sh
# Make a base image of Debian's own packages, for a house that takes nothing from a public registry.
#
#   deploy/images/debian.sh ROOT.tar [SUITE [MIRROR...]]      trixie by default: Python 3.13
#
# Needs mmdebstrap, whose own mirrors serve where none is named: Debian's, with updates and security. The same packages
# and SOURCE_DATE_EPOCH give the same file; for the same packages in a year's time name a snapshot's address as MIRROR.
set -eu
out=$1 suite=${2:-trixie}
shift "$(($# < 2 ? $# : 2))"

mmdebstrap --variant=minbase --format=tar \
  --include=ca-certificates,python3-minimal,python3-venv,python-is-python3 \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-include=/usr/share/doc/*/copyright' \
  "$suite" "$out" "$@"
