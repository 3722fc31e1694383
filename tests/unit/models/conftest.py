"""Fixtures for everything about models: real records and one small fitted model, made once."""

from __future__ import annotations

import pytest

from aboveboard.models import Model
from tests.unit.models.credit_case import CreditCase


@pytest.fixture(scope="session")
def credit() -> CreditCase:
    return CreditCase.load()


@pytest.fixture(scope="session")
def model(credit: CreditCase) -> Model:
    return credit.fit()
