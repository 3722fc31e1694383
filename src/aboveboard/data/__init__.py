"""Data: files read strictly, held against their contract, protected, divided, and recorded in a lineage.

Here live the sources, the contract, the search for identifiers, tokens, the split, the lineage, and the inference
that writes a first model.yaml for a stranger's file. No model is fitted and nothing is judged here. The evaluation,
training and command-line packages import it; the decision server never does, and neither do `models` and `audit`.
"""

from __future__ import annotations

from aboveboard.data.dataset import Dataset, load_dataset
from aboveboard.data.lineage import Lineage

__all__ = ["Dataset", "Lineage", "load_dataset"]
