"""Kafka beside the log: a copy of every decision for stream processors, and outcomes on their way in.

The log stays the record. What goes out is made from it, in its order, and names nobody; what comes in is held against
the same contract as a request over HTTP. Kafka's client is only in `kafka`; nothing here is needed to decide.
"""

from __future__ import annotations
