"""Scoring with LightGBM's own shared library, without its Python package.

The package imports pandas and scikit-learn when they are installed, which costs a decision server a second and
70 MB; the library alone costs neither. One call for one row takes a few microseconds.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import threading
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aboveboard.errors import Misuse, NotVerified, RequestRefused
from aboveboard.models.trees import Trees

_FLOAT64: Final = 1
_RAW_SCORE: Final = 1
_ROW_MAJOR: Final = 1
_PARAMETERS: Final = b"num_threads=1 verbosity=-1"


class NativeBooster:
    """A loaded ensemble. Safe to share between threads.

    Raises `NotVerified` when LightGBM does not take the trees and `Misuse` where LightGBM is not installed.
    """

    def __init__(self, trees: Trees) -> None:
        self._library, self._single_row = _library()
        self._width = trees.width
        self._handle = ctypes.c_void_p()
        self._fast = ctypes.c_void_p()
        iterations = ctypes.c_int()
        self._check(
            self._library.LGBM_BoosterLoadModelFromString(
                trees.to_text().encode(), ctypes.byref(iterations), ctypes.byref(self._handle)
            )
        )
        self._check(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit(
                self._handle,
                _RAW_SCORE,
                0,
                -1,
                _FLOAT64,
                ctypes.c_int32(self._width),
                _PARAMETERS,
                ctypes.byref(self._fast),
            )
        )
        # One row's buffers live as long as the booster, so that their addresses are looked up once. The call is
        # made with the GIL held (it is shorter than a hand-over) and under a lock, for interpreters without one.
        self._lock = threading.Lock()
        self._row = np.zeros(self._width)
        self._out = ctypes.c_double()
        self._length = ctypes.c_int64()
        self._arguments = (
            self._fast,
            ctypes.c_void_p(self._row.ctypes.data),
            ctypes.byref(self._length),
            ctypes.byref(self._out),
        )

    def margin(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return raw scores, shape (n,), of rows, shape (n, width). Raises `RequestRefused` for another shape."""
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise RequestRefused(
                f"rows of shape {rows.shape} do not fit a model of {self._width} columns",
                hint="encode them with the model's own encoding",
            )
        return np.array([self.margin_of(rows[0])]) if len(rows) == 1 else self._many(rows)

    def margin_of(self, row: NDArray[np.float64]) -> float:
        """Return the raw score of one row, which must have the shape (width,)."""
        with self._lock:
            self._row[:] = row
            status = self._single_row(*self._arguments)
            value = self._out.value
        if status:
            self._check(status)
        return value

    def _many(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        rows = np.ascontiguousarray(rows, dtype=np.float64)
        out = np.zeros(len(rows))
        if not len(rows):
            return out
        length = ctypes.c_int64()
        self._check(
            self._library.LGBM_BoosterPredictForMat(
                self._handle,
                ctypes.c_void_p(rows.ctypes.data),
                _FLOAT64,
                ctypes.c_int32(len(rows)),
                ctypes.c_int32(self._width),
                _ROW_MAJOR,
                _RAW_SCORE,
                0,
                -1,
                _PARAMETERS,
                ctypes.byref(length),
                ctypes.c_void_p(out.ctypes.data),
            )
        )
        return out

    def _check(self, status: int) -> None:
        if status:
            reason = self._library.LGBM_GetLastError().decode(errors="replace")
            raise NotVerified(f"LightGBM does not take the model: {reason}", hint="fetch or build the model again")

    def __del__(self) -> None:
        library = getattr(self, "_library", None)
        if library is None:
            return
        if self._fast:
            library.LGBM_FastConfigFree(self._fast)
        if self._handle:
            library.LGBM_BoosterFree(self._handle)


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any]:
    """Return LightGBM's library (calls release the GIL) and its one-row call (which keeps it)."""
    specification = importlib.util.find_spec("lightgbm")
    places = list(specification.submodule_search_locations or ()) if specification else []
    names = {"darwin": "lib/lib_lightgbm.dylib", "win32": "bin/lib_lightgbm.dll"}
    path = next((p for p in (Path(place) / names.get(sys.platform, "lib/lib_lightgbm.so") for place in places)), None)
    try:
        if path is None:
            raise OSError("the lightgbm package is not installed")
        library, holding = ctypes.CDLL(str(path)), ctypes.PyDLL(str(path))
    except OSError as error:
        raise Misuse(
            f"LightGBM cannot be loaded: {error}", hint="pip install lightgbm, with libgomp present"
        ) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library, holding.LGBM_BoosterPredictForMatSingleRowFast
