"""From a release to the files a cluster is run by: the chart's values, manifests, GitOps and sizes.

Here live the types of the Helm chart's values, rendering for one region, commits to an environment repository, Argo
CD and KServe objects, and the capacity plan. No cluster is spoken to: what is written here is applied by Helm, Argo
CD, Flux or kubectl. Only `cli` imports this package; it imports `cluster` and what is below.
"""

from __future__ import annotations
