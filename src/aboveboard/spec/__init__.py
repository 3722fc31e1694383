"""model.yaml: what a model is, what it may use, whom it must not harm and how it is run.

Here live the typed objects, the loader that reports every mistake at once with its place, and the JSON
Schema for editors. No data is read here and nothing is decided. Everybody may import this package; it
imports only `errors` and its like.
"""

from __future__ import annotations

from aboveboard.spec.load import load_spec
from aboveboard.spec.model import ModelSpec

__all__ = ["ModelSpec", "load_spec"]
