"""Models that score, decide and explain: the encoding of records, and one family per kind of model.

Here live the encoding, the families (`lightgbm_*`, `scorecard*`), calibration, the reference applicants, the
reasons and the files a model is stored in. No data is read here, nothing is evaluated, and no server runs here.
Everything from `data` and `evaluation` upwards may import this package; it imports only `spec` and `errors`.
The modules named `fit` and `*_fit` are for training: they import heavy packages, the others never do.
"""

from __future__ import annotations

from aboveboard.models.encoding import Encoding
from aboveboard.models.model import Model, load_model
from aboveboard.models.reasons import Reason, ReasonCode

__all__ = ["Encoding", "Model", "Reason", "ReasonCode", "load_model"]
