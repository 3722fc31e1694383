"""What a service is in one region, as files: its custom resource, the plain objects behind it, or KServe's."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from aboveboard.cluster import DecisionService, ReconcileContext, desired_objects
from aboveboard.cluster.context import node_regions_of
from aboveboard.deploy.kserve import kserve_objects
from aboveboard.deploy.manifests import file_name, to_yaml
from aboveboard.deploy.services import placed, service_document
from aboveboard.errors import Misuse
from aboveboard.spec.regions import Region, Regions


class Form(StrEnum):
    """Who will read the manifests."""

    RESOURCE = "resource"
    """Our operator: one DecisionService."""
    OBJECTS = "objects"
    """Kubernetes itself: Deployment, Service, NetworkPolicy and the rest, for clusters without the operator."""
    KSERVE = "kserve"
    """KServe: an InferenceService and the ClusterServingRuntime it uses."""


def render(
    service: DecisionService, region: Region, form: Form, context: ReconcileContext | None = None
) -> dict[str, str]:
    """Return the manifests of a service in a region, by file name, in an order in which they can be applied.

    `context` is needed for all forms but the resource. Raises `GateRefused` where the service may not run there.
    """
    return {name: to_yaml([document]) for name, document in documents(service, region, form, context).items()}


def documents(
    service: DecisionService, region: Region, form: Form, context: ReconcileContext | None = None
) -> Mapping[str, dict[str, Any]]:
    """Return the objects of a service in a region by file name."""
    here = placed(service, region)
    if form is Form.RESOURCE:
        return _named([service_document(here)], numbered=False)
    if context is None:
        raise Misuse(
            "objects name the image and the repository of releases",
            hint="give --image registry/name@sha256:… and --repository registry/name",
        )
    if form is Form.OBJECTS:
        return _named(desired_objects(here, context), numbered=True)
    return _named(kserve_objects(here, context), numbered=True)


def context_of(
    regions: Regions, region: Region, *, image: str, repository: str, registry_secret: str | None = None
) -> ReconcileContext:
    """Return the installation a region's objects are rendered for."""
    return ReconcileContext(
        image=image,
        repository=repository,
        registry_secret=registry_secret,
        region=region.name,
        node_regions=node_regions_of(regions),
        regions=regions,
    )


def _named(objects: list[dict[str, Any]], *, numbered: bool) -> dict[str, dict[str, Any]]:
    width = len(str(len(objects)))
    return {
        (f"{index:0{width}}-" if numbered else "") + file_name(document): document
        for index, document in enumerate(objects, 1)
    }
