"""The decision server: a request comes in, an explained and durably recorded decision goes out.

Here live reading requests, deciding, recording before answering, metrics, and the HTTP protocols in front
of it. No model is fitted or judged here, no data set is read, and no policy is evaluated: what is served was
verified as a release. Only the command line imports this package. It never imports the training side, nor
pandas, scikit-learn, scipy, polars or LightGBM's Python package: the server starts in a second and stays small.
"""

from __future__ import annotations
