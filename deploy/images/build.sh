#!/bin/sh
# Build the image with Buildah, which needs neither a daemon nor a socket, and leave it in build/image as an OCI layout.
#
#   [PYTHON_IMAGE=…@sha256:…] [TRAINING=no] [OUT=build/image] deploy/images/build.sh [more options of buildah build]
#
# Without PYTHON_IMAGE the base is made of Debian's packages (debian.sh). Afterwards: the layers with their sizes, and
# $OUT.cdx.json, the bill of materials. BUILDAH says how Buildah is called, e.g. with a storage of its own.
set -eu
cd "$(dirname "$0")/../.."
buildah=${BUILDAH:-buildah}
out=${OUT:-build/image}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
mkdir -p "$(dirname "$out")"

if [ -z "${PYTHON_IMAGE:-}" ]; then
  # Made once for each commit: a new one has what Debian has by then.
  PYTHON_IMAGE=localhost/aboveboard-base:$SOURCE_DATE_EPOCH
  if ! $buildah inspect --type image "$PYTHON_IMAGE" >/dev/null 2>&1; then
    root=$(mktemp)
    sh deploy/images/debian.sh "$root"
    base=$($buildah from scratch)
    $buildah add --quiet "$base" "$root" /
    rm "$root"
    $buildah config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$base"
    $buildah commit --quiet --rm --timestamp "$SOURCE_DATE_EPOCH" "$base" "$PYTHON_IMAGE"
  fi
fi

case $PYTHON_IMAGE in
localhost/*) ;;
*) $buildah pull --quiet "$PYTHON_IMAGE" ;;
esac
name=localhost/aboveboard:$(basename "$out")
$buildah build --layers --pull=never --timestamp "$SOURCE_DATE_EPOCH" --identity-label=false --tag "$name" \
  --build-arg PYTHON_IMAGE="$PYTHON_IMAGE" \
  --build-arg SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" \
  --build-arg TRAINING="${TRAINING:-yes}" \
  --file deploy/images/Dockerfile --ignorefile deploy/images/Dockerfile.dockerignore "$@" .
rm -rf "$out"
$buildah push --quiet "$name" "oci:$out:latest"
python3 deploy/images/summary.py "$out"
