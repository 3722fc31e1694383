"""The values of the Helm chart, typed: values.schema.json and the reference page are made from these.

What values.yaml says by default is what these types say by default; a test holds the two together.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from aboveboard.cluster.placement import LabelKey, LabelValue, ObjectName, Quantity, Toleration
from aboveboard.cluster.surroundings import Cidr, Destination, Integrations, Log, Port
from aboveboard.cluster.types import DecisionServiceSpec, Digest, Label
from aboveboard.spec.types import Name, Strict, Text

Reference = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._:/-]{0,253}$")]
"""An OCI repository, `registry/name`, without tag or digest."""


class Image(Strict):
    """The one image of everything that runs here."""

    repository: Reference = "aboveboard"
    digest: Digest | None = None
    """What runs. Without it the tag does, for trying out on a cluster that has the image loaded."""
    tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")] | None = None
    """By default the version of the chart's application."""
    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"


class Registry(Strict):
    """Where releases are fetched from."""

    repository: Reference | None = None
    """The OCI repository of releases. The operator and the admission webhook need one."""
    secret: ObjectName | None = None
    """A Secret of type kubernetes.io/dockerconfigjson, for images and releases."""
    plain_http: bool = False
    """For a registry on the same machine, in trials; a release is verified whatever brought it."""
    port: Port = 443
    """What the network policies let out to it."""
    cidrs: tuple[Cidr, ...] = ("0.0.0.0/0",)
    """Where it is."""


class Trust(Strict):
    """Whose signatures count."""

    config_map: ObjectName = "aboveboard-trust"
    """The ConfigMap whose `trust.json` lists public keys and roles."""
    document: str | None = None
    """The content of trust.json, by `--set-file trust.document=trust.json`; without it the ConfigMap is yours."""


class Resources(Strict):
    """What a container asks for; memory is also its limit."""

    cpu: Quantity = "100m"
    memory: Quantity = "256Mi"


class Workload(Strict):
    """How many, how large and where."""

    enabled: bool = True
    replicas: Annotated[int, Field(ge=1, le=16)] = 2
    resources: Resources = Resources()
    priority_class: ObjectName | None = None
    node_selector: dict[LabelKey, LabelValue] = {}
    tolerations: tuple[Toleration, ...] = ()


class Operator(Workload):
    """The operator: turns DecisionServices into what runs them."""

    resources: Resources = Resources(cpu="100m", memory="384Mi")


class Certificates(StrEnum):
    """Who makes the certificate of the admission webhook."""

    CERT_MANAGER = "cert-manager"
    SELF_SIGNED = "self-signed"
    """Made by the webhook, shared by its replicas, trusted by the API server before it is served, and renewed."""


class Admission(Workload):
    """The admission webhook: lets in what is released, approved, in force and in its region."""

    resources: Resources = Resources(cpu="100m", memory="384Mi")
    port: Port = 9443
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] = 10
    certificates: Certificates = Certificates.SELF_SIGNED
    policies: bool = True
    """The ValidatingAdmissionPolicies (CEL) for what needs no look-up."""


class Gatekeeper(Strict):
    """What the ValidatingAdmissionPolicies check, for clusters that are governed by OPA Gatekeeper."""

    enabled: bool = False
    """The ConstraintTemplates, in Rego."""
    constraints: bool = False
    """The constraints, in a second step: Gatekeeper makes their kinds of the templates."""
    enforcement: Literal["deny", "warn", "dryrun"] = "deny"


class ApiServer(Strict):
    """Where the API server is, for network policies: `kubectl get endpoints kubernetes` says so."""

    cidrs: tuple[Cidr, ...] = ("0.0.0.0/0",)
    ports: tuple[Port, ...] = (443, 6443)


class NetworkPolicies(Strict):
    """Everything is denied; then exactly what is named is let through."""

    enabled: bool = True
    api_server: ApiServer = ApiServer()
    dns_namespace: Label = "kube-system"


class Subjects(Strict):
    """Who has a role: groups of your identity provider."""

    data_scientist: tuple[Text, ...] = ()
    validator: tuple[Text, ...] = ()
    approver: tuple[Text, ...] = ()
    auditor: tuple[Text, ...] = ()
    operator: tuple[Text, ...] = ()


class Rbac(Strict):
    """Roles for people."""

    roles: bool = True
    """The ClusterRoles; what each may is in docs/operations/cluster.md."""
    groups: Subjects = Subjects()
    """Who has them in every namespace. Rather bind them per tenant."""


class Quota(Strict):
    """What all pods of a tenant may ask for together."""

    cpu: Quantity = "32"
    memory: Quantity = "64Gi"
    storage: Quantity = "1Ti"
    pods: Annotated[int, Field(ge=1)] = 100
    gpus: Annotated[int, Field(ge=0)] = 0


class ContainerLimits(Strict):
    """What a container gets that asks for nothing, and the most one may ask for."""

    default: Resources = Resources(cpu="250m", memory="512Mi")
    maximum_memory: Quantity = "16Gi"
    """There is no most of CPU: a limit would throttle a server in the middle of a decision. The quota bounds it."""


class Tenant(Strict):
    """A namespace for one tenant and one environment, with its limits, its walls and its people."""

    namespace: Label
    environment: Name
    """E.g. `production`, `staging`."""
    labels: dict[LabelKey, LabelValue] = {}
    quota: Quota = Quota()
    limits: ContainerLimits = ContainerLimits()
    groups: Subjects = Subjects()
    """Who has which role in this namespace."""


class Service(Strict):
    """A DecisionService to be made: see the custom resource."""

    name: Label
    namespace: Label | None = None
    """By default that of the Helm release."""
    labels: dict[LabelKey, LabelValue] = {}
    spec: DecisionServiceSpec


class Trial(Strict):
    """A decision server on embedded defaults and a model of public data: a first look, never for real people."""

    enabled: bool = False
    api_key: Annotated[str, Field(pattern=r"^abk_[A-Za-z0-9_-]{32,64}$")] | None = None
    """What a caller sends as bearer token; made at random when not given."""
    storage: Quantity = "2Gi"
    storage_class: ObjectName | None = None
    resources: Resources = Resources(cpu="500m", memory="2Gi")


class PostgreSql(Strict):
    """A PostgreSQL cluster by CloudNativePG, for journals, vault and index where there is no disk to trust."""

    enabled: bool = False
    instances: Annotated[int, Field(ge=1, le=9)] = 3
    storage: Quantity = "100Gi"
    storage_class: ObjectName | None = None
    resources: Resources = Resources(cpu="2", memory="4Gi")
    database: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")] = "aboveboard"
    synchronous_replicas: Annotated[int, Field(ge=0, le=8)] = 1
    """How many standbys have a commit before it is acknowledged: durable means on more than one machine."""

    @model_validator(mode="after")
    def _enough_standbys(self) -> Self:
        if self.synchronous_replicas >= self.instances:
            raise ValueError("synchronousReplicas is below instances: the primary is not its own standby")
        return self


class Kafka(Strict):
    """A Kafka cluster by Strimzi (KRaft), with the topics of decisions and outcomes."""

    enabled: bool = False
    brokers: Annotated[int, Field(ge=1, le=99)] = 3
    storage: Quantity = "200Gi"
    storage_class: ObjectName | None = None
    resources: Resources = Resources(cpu="1", memory="4Gi")
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 12
    """Of each topic; `aboveboard plan capacity` proposes a number."""
    retention_hours: Annotated[int, Field(ge=1)] = 168
    """Events are copies; the log is kept elsewhere, and longer."""


Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,247}[A-Za-z0-9])?$")]
"""A Kafka topic or consumer group, at most 249 characters."""


class Relay(Workload):
    """`aboveboard events relay`: each decision of the log becomes a CloudEvent in Kafka, in the log's order."""

    enabled: bool = False
    replicas: Annotated[int, Field(ge=1, le=2)] = 1
    """A second one takes turns with the first, by a lock in the log's database, so that one at a time sends."""
    resources: Resources = Resources(cpu="250m", memory="256Mi")
    user_secret: ObjectName | None = None
    """Who it is to the brokers: keys `user.crt` and `user.key`, as Strimzi makes them of a KafkaUser. By default that
    of the chart's own user."""
    topic: Topic = "aboveboard.decisions"
    mode: Literal["structured", "binary"] = "structured"
    """How CloudEvents are laid out."""


class Collector(Workload):
    """`aboveboard events collect`: outcomes come from Kafka into the log; what is none goes to another topic."""

    enabled: bool = False
    replicas: Annotated[int, Field(ge=1, le=16)] = 1
    """They share the partitions of the topic: more than there are partitions have nothing to do."""
    resources: Resources = Resources(cpu="250m", memory="256Mi")
    user_secret: ObjectName | None = None
    """As for the relay."""
    topic: Topic = "aboveboard.outcomes"
    rejected: Topic = "aboveboard.outcomes.rejected"
    """Where messages go that are no outcome."""
    group: Topic = "aboveboard.outcomes"
    """The consumer group; one for each log."""

    @model_validator(mode="after")
    def _not_back(self) -> Self:
        if self.rejected == self.topic:
            raise ValueError("what is rejected cannot go back to the topic it came from")
        return self


class Streaming(Strict):
    """Between the audit log and Kafka, in the namespace of the Helm release: see docs/operations/kafka.md."""

    relay: Relay = Relay()
    collector: Collector = Collector()
    brokers: (
        Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\[\]-]+:[0-9]{1,5}(,[A-Za-z0-9.:\[\]-]+:[0-9]{1,5})*$")] | None
    ) = None
    """`host:port`, several with commas between them. By default the chart's own (`kafka.enabled`)."""
    authority_secret: ObjectName | None = None
    """Whose certificates the brokers have: key `ca.crt`, as in Strimzi's `<cluster>-cluster-ca-cert`, which is the
    default with the chart's own brokers."""
    properties_secret: ObjectName | None = None
    """Key `client.properties`: further settings in librdkafka's names, such as `sasl.…`; the place for a password."""
    plain_text: bool = False
    """For brokers that neither encrypt nor ask who one is, in trials."""
    log: Log | None = None
    """The log that is relayed and collected into, where it is another than `log`. Its Secrets are in the namespace of
    the Helm release."""
    destinations: Annotated[tuple[Destination, ...], Field(max_length=32)] = ()
    """What pods may call beside DNS, the chart's own Kafka and PostgreSQL, and the destinations of the log: brokers
    above all. What is not named is denied."""


class SecretReference(Strict):
    """One Secret, filled from an external store."""

    name: ObjectName
    namespace: Label | None = None
    """By default that of the Helm release."""
    key: Text
    """Where the store keeps it."""
    properties: Annotated[dict[Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]{1,253}$")], Text], Field(min_length=1)]
    """By key of the Secret, the property of the store's entry, e.g. `subject.key: subject-key`."""
    decoding: Literal["None", "Base64", "Base64URL", "Auto"] = "None"


class ExternalSecrets(Strict):
    """Secrets by the External Secrets Operator: Vault, a cloud's secret manager, and others."""

    enabled: bool = False
    store: ObjectName = "aboveboard"
    store_kind: Literal["ClusterSecretStore", "SecretStore"] = "ClusterSecretStore"
    refresh: Annotated[str, Field(pattern=r"^[1-9][0-9]*[smh]$")] = "1h"
    secrets: tuple[SecretReference, ...] = ()


FileName = Annotated[str, Field(pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}$")]


class StoredObject(Strict):
    """One secret of Vault's, that becomes a file."""

    path: Text
    """As Vault's API has it, e.g. `secret/data/credit/clients` for version 2 of the key-value engine."""
    key: Text
    """Which of its keys."""
    encoding: Literal["utf-8", "base64", "hex"] = "utf-8"
    """How what is not a text is kept there: a subject key in base64."""


class ProviderClass(Strict):
    """One SecretProviderClass: the files of one volume."""

    name: ObjectName
    namespace: Label | None = None
    """By default that of the Helm release. It is that of the pods."""
    role: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
    """Vault's role, bound to the service account of the pods."""
    objects: Annotated[dict[FileName, StoredObject], Field(min_length=1, max_length=32)]
    """By name of the file, e.g. `clients.json`."""


class SecretsStore(Strict):
    """Secrets that are mounted without becoming Secrets: the Secrets Store CSI driver with Vault's provider."""

    enabled: bool = False
    address: Annotated[str, Field(pattern=r"^https://[^ ]{1,253}$")] | None = None
    """Of Vault. By default as its provider was installed."""
    auth: Text = "kubernetes"
    """Where Vault's Kubernetes or JWT method is mounted, below `auth/`."""
    audience: Text | None = "vault"
    """For whom the pods' tokens are that the provider logs in with."""
    vault_namespace: Text | None = None
    """A namespace of Vault's own, where it has any."""
    classes: tuple[ProviderClass, ...] = ()


class Monitoring(Strict):
    """Metrics and alerts of what the chart itself runs, by the Prometheus operator."""

    enabled: bool = False
    namespace: Label = "monitoring"
    """Where Prometheus runs: only its pods may scrape."""
    labels: dict[LabelKey, LabelValue] = {}
    """Labels by which your Prometheus selects its monitors and rules."""


class Dashboards(Strict):
    """What Grafana shows: decisions, fairness and drift, servers and journal, the control plane."""

    enabled: bool = False
    labels: dict[LabelKey, LabelValue] = {"grafana_dashboard": "1"}
    """Labels by which Grafana's sidecar finds the ConfigMaps."""
    folder: Text = "Aboveboard"
    """In Grafana."""
    instance_labels: dict[LabelKey, LabelValue] = {}
    """With the Grafana operator: labels of your Grafana. Each dashboard becomes a GrafanaDashboard, too."""


class Grafana(Strict):
    """Dashboards for a Grafana that reads the Prometheus of this cluster."""

    dashboards: Dashboards = Dashboards()


class Mesh(Strict):
    """Istio for the control plane's own namespace: mutual TLS, strict, but for the API server's calls."""

    enabled: bool = False


class Values(Strict):
    """Everything `helm install` may be told."""

    global_: Annotated[dict[str, Any], Field(alias="global")] = {}
    """Helm's own; nothing here reads it."""
    image: Image = Image()
    region: Name | None = None
    """The region this cluster is in, by the name regions.yaml gives it."""
    regions: str | None = None
    """The content of regions.yaml, by `--set-file regions=regions.yaml`."""
    registry: Registry = Registry()
    trust: Trust = Trust()
    operator: Operator = Operator()
    admission: Admission = Admission()
    gatekeeper: Gatekeeper = Gatekeeper()
    rbac: Rbac = Rbac()
    network_policies: NetworkPolicies = NetworkPolicies()
    tenants: tuple[Tenant, ...] = ()
    """Namespaces, each with its quota, limits, walls and people: `namespace`, `environment`, and what differs."""
    decision_services: tuple[Service, ...] = ()
    """In a second step, when the webhook answers: it fails closed."""
    integrations: Integrations = Integrations()
    """What this cluster has, for every decision service that names none of its own."""
    log: Log | None = None
    """Where the audit log is, for every decision service that says nothing of it; one with `log: null` keeps its
    own."""
    trial: Trial = Trial()
    postgresql: PostgreSql = PostgreSql()
    kafka: Kafka = Kafka()
    streaming: Streaming = Streaming()
    external_secrets: ExternalSecrets = ExternalSecrets()
    secrets_store: SecretsStore = SecretsStore()
    monitoring: Monitoring = Monitoring()
    grafana: Grafana = Grafana()
    mesh: Mesh = Mesh()


def values_schema() -> dict[str, Any]:
    """Return values.schema.json: the JSON Schema Helm holds values against."""
    schema = Values.model_json_schema(by_alias=True)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the aboveboard chart",
        **{key: value for key, value in schema.items() if key != "title"},
    }
