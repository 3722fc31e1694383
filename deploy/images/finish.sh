#!/bin/sh
# Make what was installed in /opt/venv small, quick to start and the same each time. Runs in the build stage only.
#
#   finish.sh yes|no    whether what only training needs stays
#
# Leaves three trees, one for each layer of the image: /opt/stdlib (bytecode of the standard library, where the base has
# none), /opt/venv (dependencies) and /opt/own (Aboveboard itself, and its example).
set -eu

# Nothing that serves, verifies, operates or admits imports these, not even transitively; `make check` holds that.
training="cloudpickle colorlog joblib optuna polars polars-runtime-32 scikit-learn scipy threadpoolctl tqdm"

venv=/opt/venv
site=$($venv/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
stdlib=$($venv/bin/python -c "import sysconfig; print(sysconfig.get_path('stdlib'))")

mkdir -p /opt/own
case $1 in
yes) mv /opt/aboveboard /opt/own/aboveboard ;;
no)
  # shellcheck disable=SC2086  # a list of words
  $venv/bin/pip uninstall --yes $training
  rm -rf /opt/aboveboard
  mkdir /opt/own/aboveboard
  ;;
*)
  echo "TRAINING is yes or no, not '$1'" >&2
  exit 64
  ;;
esac
$venv/bin/pip uninstall --yes setuptools pip

find $venv -type d \( -name tests -o -name test -o -name __pycache__ -o -name include \) -prune -exec rm -rf {} +
find $venv -type f \( -name '*.a' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.pyi' \) -delete
find "$site" -type f -name '*.so*' ! -path '*.libs/*' -exec strip --strip-unneeded {} +

# One process for each tree: how often an object is shared shows in the bytecode, and parallel compilers differ in it.
compile() { python -m compileall -q --invalidation-mode unchecked-hash "$@"; }
PYTHONHASHSEED=0 compile "$site"
mkdir -p "/opt/stdlib$stdlib"
if [ ! -d "$stdlib/__pycache__" ]; then
  cp -R "$stdlib" /opt/whole
  (cd /opt/whole && rm -rf site-packages dist-packages test idlelib tkinter turtledemo ensurepip lib2to3 pydoc_data lib-dynload config-*)
  PYTHONHASHSEED=0 compile -s /opt/whole -p "$stdlib" /opt/whole
  (cd /opt/whole && find . -name '*.pyc' -exec cp --parents {} "/opt/stdlib$stdlib" \;)
fi

# What changes with every release, apart from what does not.
mkdir -p "/opt/own/${site#/opt/}" /opt/own/venv/bin
mv "$site"/aboveboard "$site"/aboveboard-*.dist-info "/opt/own/${site#/opt/}"
mv $venv/bin/aboveboard /opt/own/venv/bin
find /opt/stdlib $venv /opt/own -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +
