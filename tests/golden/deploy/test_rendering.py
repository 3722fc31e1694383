"""What is rendered for a region is valid to whoever reads it, bound to its region, and what it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from aboveboard.cluster import crd_documents
from aboveboard.deploy.argocd import GitOps, argocd_objects, root_application
from aboveboard.deploy.kserve import GRPC_PORT
from aboveboard.deploy.manifests import to_yaml
from aboveboard.deploy.render import Form, context_of, documents, render
from aboveboard.deploy.services import with_challenger, with_champion
from aboveboard.errors import GateRefused, Misuse
from tests.chart_cases import render as chart_objects
from tests.chart_cases import value_sets
from tests.conftest import Golden
from tests.deploy_cases import IMAGE, NEW, OLD, REPOSITORY, regions, service
from tests.helm_cluster import KINDS
from tests.kubernetes_schemas import problems


def rendered(form: Form, region: str = "eu-west", **changes: Any) -> dict[str, dict[str, Any]]:
    place = regions().region(region)
    wanted = with_challenger(with_champion(service(), OLD), NEW, 5)
    if changes:
        wanted = wanted.model_copy(update={"spec": wanted.spec.model_copy(update=changes)})
    return dict(documents(wanted, place, form, context_of(regions(), place, image=IMAGE, repository=REPOSITORY)))


def shared() -> Any:
    return service().spec.journal.model_copy(update={"mode": "shared", "claim": "credit-journal"})


@pytest.mark.parametrize("form", Form)
def test_every_form_is_valid_and_what_it_was(form: Form, golden: Golden) -> None:
    changes = {"journal": shared()} if form is Form.KSERVE else {}
    found = rendered(form, **changes)
    assert [problem for document in found.values() for problem in problems(document, crd_documents())] == []
    golden(f"deploy/render/{form}.yaml", to_yaml(found.values()))


def test_pods_are_bound_to_the_region_by_the_clouds_own_name() -> None:
    for form, changes in ((Form.OBJECTS, {}), (Form.KSERVE, {"journal": shared()})):
        [affinity] = [
            (d["spec"].get("template") or {"spec": d["spec"].get("predictor")})["spec"]["affinity"]
            for d in rendered(form, "us-east", **changes).values()
            if d["kind"] in ("StatefulSet", "InferenceService")
        ]
        [term] = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": "topology.kubernetes.io/region", "operator": "In", "values": ["us-east-1"]}
        ]


def test_kserve_finds_grpc_where_the_server_speaks_it() -> None:
    found = rendered(Form.KSERVE, journal=shared()).values()
    [runtime] = [d["spec"] for d in found if d["kind"] == "ClusterServingRuntime"]
    [predictor] = [d["spec"]["predictor"] for d in found if d["kind"] == "InferenceService"]
    [server] = runtime["containers"]
    assert runtime["protocolVersions"] == ["v2", "grpc-v2"]
    assert f"--grpc-port={GRPC_PORT}" in server["args"]
    expected = {"http": 8080, "h2c": GRPC_PORT}
    for container in (server, predictor["model"]):
        assert {port["name"]: port["containerPort"] for port in container["ports"]} == expected
    [ingress] = [d["spec"]["ingress"] for d in found if d["kind"] == "NetworkPolicy" and d["spec"]["ingress"]]
    assert {port["port"] for rule in ingress for port in rule["ports"]} == set(expected.values())


def test_kserve_serves_the_release_that_was_asked_for() -> None:
    found = rendered(Form.KSERVE, journal=shared())
    [isvc] = [d for d in found.values() if d["kind"] == "InferenceService"]
    predictor = isvc["spec"]["predictor"]
    assert predictor["model"]["args"][0] == OLD
    assert f"--challenger={NEW}" in predictor["model"]["args"]
    assert OLD in predictor["initContainers"][0]["args"]
    with pytest.raises(Misuse, match="no volume of their own"):
        rendered(Form.KSERVE)


def test_files_are_named_in_the_order_they_are_applied_and_read_back() -> None:
    place = regions().region("eu-west")
    texts = render(service(), place, Form.OBJECTS, context_of(regions(), place, image=IMAGE, repository=REPOSITORY))
    assert list(texts) == sorted(texts)
    kinds = [yaml.safe_load(text)["kind"] for text in texts.values()]
    assert kinds.index("NetworkPolicy") < kinds.index("StatefulSet")


@pytest.mark.parametrize(
    ("region", "says"), [("eu-north", "may not run in eu-north"), ("uk-south", "may not run in uk-south")]
)
def test_a_region_that_is_not_the_services_is_refused(region: str, says: str) -> None:
    with pytest.raises(GateRefused, match=says):
        render(service(), regions().region(region), Form.RESOURCE)


def test_a_region_under_another_law_is_refused() -> None:
    wider = service().model_copy(update={"spec": service().spec.model_copy(update={"regions": ("in-west",)})})
    with pytest.raises(GateRefused, match="under the law of in"):
        render(wider, regions().region("in-west"), Form.RESOURCE)


def test_objects_without_an_image_say_what_to_give() -> None:
    with pytest.raises(Misuse, match="name the image"):
        render(service(), regions().region("eu-west"), Form.OBJECTS)


GITOPS = Path(__file__).parents[3] / "deploy" / "gitops"
PLACES = GitOps(
    environment="production",
    repository="https://git.bank.example/platform/environments.git",
    chart_repository="https://git.bank.example/platform/aboveboard.git",
    namespaces=("credit-production",),
)


def gitops() -> dict[str, dict[str, Any]]:
    project, fence, control_plane, services = argocd_objects(regions(), PLACES)
    return {
        "root.yaml": root_application(PLACES, path="production/argocd"),
        "project.yaml": project,
        "project-services.yaml": fence,
        "control-plane.yaml": control_plane,
        "services.yaml": services,
    }


@pytest.mark.parametrize("name", gitops())
def test_argo_cd_objects_are_valid_and_as_in_deploy_gitops(name: str, request: pytest.FixtureRequest) -> None:
    document = gitops()[name]
    assert problems(document) == []
    path = GITOPS / name
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(to_yaml([document]), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == to_yaml([document]), f"deploy/gitops/{name}: run `make golden`"


def test_every_region_has_its_application_and_no_other_place_is_open() -> None:
    found = gitops()
    names = [region.name for region in regions().spec.regions]
    for name in ("control-plane.yaml", "services.yaml"):
        [generator] = found[name]["spec"]["generators"]
        elements = generator["list"]["elements"]
        assert [element["region"] for element in elements] == names
        assert all(bool(element["server"]) != bool(element["cluster"]) for element in elements)
    destinations = found["project.yaml"]["spec"]["destinations"]
    assert len(destinations) == 2 * len(names)
    assert {d["namespace"] for d in destinations} == {"aboveboard-system", "credit-production"}
    assert {d["namespace"] for d in found["project-services.yaml"]["spec"]["destinations"]} == {"credit-production"}
    every = [*destinations, *found["project-services.yaml"]["spec"]["destinations"]]
    assert all("*" not in str(value) for d in every for value in d.values())


def test_what_the_control_plane_is_made_of_may_come_and_a_service_brings_nothing_but_itself() -> None:
    """The chart has an empty Secret for the webhook's certificate: a project that bars Secrets would bar it."""
    plane, fence = (gitops()[name]["spec"] for name in ("project.yaml", "project-services.yaml"))
    allowed = {(each["group"], each["kind"]) for each in plane["clusterResourceWhitelist"]}
    sets = value_sets()
    brought = {
        (document["apiVersion"].rpartition("/")[0], document["kind"])
        for name in ("control-plane", "production", "gatekeeper-templates")
        for document in chart_objects(sets[name])
    }
    wide = {kind for kind, (_, _, in_namespace) in KINDS.items() if not in_namespace} | {"ConstraintTemplate"}
    assert {(group, kind) for group, kind in brought if kind in wide} <= allowed
    assert ("", "Secret") in brought
    assert "namespaceResourceBlacklist" not in plane
    assert fence["clusterResourceWhitelist"] == []
    barred = {each["kind"] for each in fence["namespaceResourceBlacklist"]}
    assert {"Secret", "Role", "RoleBinding"} <= barred
    assert not barred & {document["kind"] for document in rendered(Form.OBJECTS).values()}
    for name, project in (("control-plane.yaml", "aboveboard-production"), ("services.yaml", "decisions-production")):
        assert gitops()[name]["spec"]["template"]["spec"]["project"] == project


def test_the_control_plane_comes_before_what_it_admits_and_nothing_is_pruned() -> None:
    found = gitops()
    waves = [int(found[n]["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])
             for n in ("project.yaml", "control-plane.yaml", "services.yaml")]  # fmt: skip
    assert waves == sorted(waves)
    for name in ("control-plane.yaml", "services.yaml"):
        assert found[name]["spec"]["template"]["spec"]["syncPolicy"]["automated"]["prune"] is False
        assert found[name]["spec"]["syncPolicy"]["preserveResourcesOnDeletion"] is True


def test_what_roll_outs_own_is_left_to_them() -> None:
    ignored = gitops()["services.yaml"]["spec"]["template"]["spec"]
    assert "RespectIgnoreDifferences=true" in ignored["syncPolicy"]["syncOptions"]
    paths = {(entry["kind"], *entry.get("jqPathExpressions", entry.get("jsonPointers", [])))
             for entry in ignored["ignoreDifferences"]}  # fmt: skip
    assert ("VirtualService", ".spec.http[].route[].weight") in paths
    assert ("StatefulSet", "/spec/replicas") in paths
