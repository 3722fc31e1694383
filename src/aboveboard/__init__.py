"""Aboveboard takes a financial model the whole way: data, training, fairness, policy, release, decisions, proof.

The road can be read off the package names; ARCHITECTURE.md draws it and gives the import rules.
"""

from __future__ import annotations

__version__ = "0.1.0"
