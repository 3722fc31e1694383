"""The vocabulary of a model spec: names, enumerations, and the strict object they are all made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS-1123 label, as Kubernetes names its objects."""

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Column = Annotated[str, Field(min_length=1, max_length=256)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Duration = Annotated[str, Field(pattern=r"^P(\d+Y(\d+M)?(\d+D)?|\d+M(\d+D)?|\d+D)$")]
"""A calendar duration of ISO 8601, e.g. `P25M` for the 25 months of Regulation B."""

Scalar = bool | int | float | str

Texts = Annotated[dict[Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")], Text], Field(min_length=1)]
"""The same sentence in several languages, keyed by BCP 47 tag."""


class Strict(BaseModel):
    """An object that refuses unknown keys; camelCase in files, as in the Kubernetes API."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Purpose(StrEnum):
    """What the model decides. It fixes the words for the outcomes and the rules that apply."""

    CREDIT_DECISION = "credit-decision"
    FRAUD_DETECTION = "fraud-detection"
    RECOMMENDATION = "recommendation"
    TEXT_CLASSIFICATION = "text-classification"


class Materiality(StrEnum):
    """Exposure times purpose, as SR 26-2 tiers its inventory."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class FeatureType(StrEnum):
    """How a value is written and read."""

    NUMBER = "number"
    INTEGER = "integer"
    CATEGORY = "category"
    BOOLEAN = "boolean"


class Classification(StrEnum):
    """How sensitive a column is, which decides who may see it and how it is masked."""

    PII = "pii"
    SENSITIVE = "sensitive"
    FINANCIAL = "financial"
    PUBLIC = "public"


class LegalBasis(StrEnum):
    """Why the law lets us process a column: the six bases of GDPR art. 6(1)."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal-obligation"
    VITAL_INTERESTS = "vital-interests"
    PUBLIC_TASK = "public-task"
    LEGITIMATE_INTERESTS = "legitimate-interests"


class Origin(StrEnum):
    """Where a column's values come from. Some origins are barred by law from some purposes."""

    APPLICATION = "application"
    INTERNAL = "internal"
    BUREAU = "bureau"
    OPEN_BANKING = "open-banking"
    UTILITY = "utility"
    TELECOM = "telecom"
    DEVICE = "device"
    SOCIAL_NETWORK = "social-network"
    HEALTH = "health"
    PUBLIC_REGISTER = "public-register"


class Monotonic(StrEnum):
    """How the score must move when the value grows; the score is high for the favourable outcome."""

    INCREASING = "increasing"
    DECREASING = "decreasing"
    NONE = "none"


class Family(StrEnum):
    """Which kind of model is fitted."""

    LIGHTGBM = "lightgbm"
    SCORECARD = "scorecard"


class ReferenceConvention(StrEnum):
    """Whom a declined applicant is compared with (Regulation B, commentary on 1002.9(b)(2))."""

    AT_CUT_OFF = "at-cut-off"
    ALL_APPROVED = "all-approved"
