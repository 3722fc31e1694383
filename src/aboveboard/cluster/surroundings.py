"""What is around a decision service: who may call it, whom it may call, and which other systems serve it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from aboveboard.cluster.placement import LabelKey, LabelValue, ObjectName
from aboveboard.spec.types import Strict

Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", max_length=63)]
Host = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$", max_length=253)]
Port = Annotated[int, Field(ge=1, le=65_535)]


def _network(text: str) -> str:
    """Hold what the API server holds of an address range: one with bits beyond its prefix is refused there, too."""
    ip_network(text, strict=True)
    return text


Cidr = Annotated[str, Field(pattern=r"^[0-9a-f.:]{2,39}/[0-9]{1,3}$", max_length=43), AfterValidator(_network)]


class Access(Strict):
    """The secrets a decision server needs. They are mounted as files and appear nowhere else.

    Each comes from a Secret, or from a store outside by a SecretProviderClass of the Secrets Store CSI driver, whose
    objects have the names of the Secret's keys.
    """

    subject_key_secret: ObjectName | None = None
    """Key `subject.key`: the 32 bytes that turn identifiers into tokens; the same for every pod of a model."""
    subject_key_provider_class: ObjectName | None = None
    """The SecretProviderClass that mounts `subject.key`, instead of a Secret."""
    clients_secret: ObjectName | None = None
    """Key `clients.json`: API keys, hashed, and roles."""
    clients_provider_class: ObjectName | None = None
    """The SecretProviderClass that mounts `clients.json`, instead of a Secret."""
    service_account_annotations: Annotated[
        dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=8)
    ] = {}
    """Who the pods are to a cloud, e.g. `eks.amazonaws.com/role-arn`: its platform mounts a token of its own then."""

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.subject_key_secret is None) == (self.subject_key_provider_class is None):
            raise ValueError("name either subjectKeySecret or subjectKeyProviderClass")
        if (self.clients_secret is None) == (self.clients_provider_class is None):
            raise ValueError("name either clientsSecret or clientsProviderClass")
        return self


class Peer(Strict):
    """Pods that may call, in one namespace."""

    namespace: Label
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=8)] = {}
    """All pods of the namespace where none are named."""
    service_account: ObjectName | None = None
    """Who they are to the mesh; with Istio only named accounts may call."""


class Destination(Strict):
    """Something pods may call: an address range, or pods in a namespace."""

    name: Label
    port: Port
    cidr: Cidr | None = None
    namespace: Label | None = None
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=8)] = {}

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.cidr is None) == (self.namespace is None):
            raise ValueError("name either a cidr or a namespace")
        if self.pod_labels and self.namespace is None:
            raise ValueError("podLabels need a namespace")
        return self


class Network(Strict):
    """Who may call and who may be called. What is not named is denied."""

    callers: Annotated[tuple[Peer, ...], Field(max_length=32)] = ()
    destinations: Annotated[tuple[Destination, ...], Field(max_length=32)] = ()
    """The release registry above all; also databases, key services, brokers."""


class Failover(Strict):
    """Other regions take over when no pod here is well: those that regions.yaml lets in, and no others."""

    gateway_namespace: Label = "istio-system"
    """Where the east-west gateway runs, through which calls of other regions come in."""
    gateway_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=8)] = {"istio": "eastwestgateway"}


class Istio(Strict):
    """Traffic by Istio: mutual TLS, strict; only named callers."""

    hosts: Annotated[tuple[Host, ...], Field(max_length=8)] = ()
    """Names outside the mesh, answered at the gateways."""
    gateways: Annotated[tuple[Annotated[str, Field(max_length=317)], ...], Field(max_length=4)] = ()
    """`namespace/name` of Istio gateways that let those hosts in."""
    gateway_service_accounts: Annotated[tuple[Annotated[str, Field(max_length=317)], ...], Field(max_length=4)] = ()
    """`namespace/name` of the accounts those gateways run as."""
    trust_domain: Host = "cluster.local"
    failover: Failover | None = None
    """For a mesh over several regions. Without it every call stays in its region."""


class Gateway(Strict):
    """Traffic by the Gateway API."""

    name: ObjectName
    namespace: Label
    section: Label | None = None
    hosts: Annotated[tuple[Host, ...], Field(max_length=8)] = ()


class Prometheus(Strict):
    """Metrics and alerts by the Prometheus operator."""

    address: Annotated[str, Field(pattern=r"^https?://[a-z0-9.:-]{1,253}(/.*)?$", max_length=512)]
    """Where queries are answered, for KEDA and Argo Rollouts."""
    namespace: Label = "monitoring"
    """Where Prometheus runs: its pods may scrape."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=8)] = {}
    """Labels by which your Prometheus selects its monitors and rules."""


class Keda(Strict):
    """Scaling by KEDA, straight from Prometheus; without it a HorizontalPodAutoscaler asks the metrics adapter."""

    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300


class VerticalPodAutoscaler(Strict):
    """Recommendations for resources. They are only recommended: a changed request would restart pods."""

    mode: Literal["recommend"] = "recommend"


class ArgoRollouts(Strict):
    """Roll-outs in separate pods by Argo Rollouts."""

    verdict_every_seconds: Annotated[int, Field(ge=10, le=3600)] = 60
    """How often the verdict metric is read."""


class Tracing(Strict):
    """Traces of the decision path, by OpenTelemetry: OTLP over HTTP to a collector."""

    endpoint: Annotated[
        str, Field(pattern=r"^https?://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?:[0-9]{1,5}(/[^ ]*)?$", max_length=512)
    ]
    """With its port, e.g. `http://collector.observability:4318`."""
    namespace: Label | None = None
    """Where the collector runs: pods may reach it there, and nowhere else."""
    pod_labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=8)] = {}
    cidr: Cidr | None = None
    """Where it is, when not in this cluster."""
    sample: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The share of requests that are traced where the caller did not say. A trace has no personal data in it."""

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.cidr is None) == (self.namespace is None):
            raise ValueError("name either the collector's namespace or its cidr")
        return self

    @property
    def destination(self) -> Destination:
        """Return what the network must let through."""
        port = int(self.endpoint.split("://", 1)[1].split("/", 1)[0].rpartition(":")[2])
        place = {"cidr": self.cidr, "namespace": self.namespace, "pod_labels": self.pod_labels}
        return Destination.model_validate({"name": "traces", "port": port, **place}, by_alias=False, by_name=True)


class Vault(Strict):
    """How pods log in to HashiCorp Vault: by a token of their service account, made for Vault alone."""

    address: Annotated[
        str, Field(pattern=r"^https://[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$", max_length=270)
    ]
    """`https://` and its name; the token that is sent there must not be read on the way."""
    role: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$", max_length=128)]
    """Vault's role, bound to the service account (which is named as the service), its namespace and the audience."""
    auth: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}(/[A-Za-z0-9_.-]{1,64}){0,7}$", max_length=519)] = (
        "kubernetes"
    )
    """Where Vault's Kubernetes or JWT method is mounted, below `auth/`."""
    audience: Annotated[str, Field(pattern=r"^[A-Za-z0-9:/._-]{1,253}$", max_length=253)] = "vault"
    """For whom the token is: nobody else takes it, the API server neither."""
    token_seconds: Annotated[int, Field(ge=600, le=86_400)] = 3600
    """For how long a token holds; the kubelet renews it in time."""
    namespace: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./-]{1,253}$", max_length=253)] | None = None
    """A namespace of Vault's own, where it has any."""
    ca_config_map: ObjectName | None = None
    """A ConfigMap with key `ca.crt`: who signed Vault's certificate. By default those the image trusts."""


class Log(Strict):
    """Where the audit log is when it is not a volume of each pod: one log for every pod, in PostgreSQL.

    What is secret comes from a Secret or by a SecretProviderClass, as in `access`.
    """

    database_secret: ObjectName | None = None
    """Key `uri`: the URL of a PostgreSQL database, as CloudNativePG writes it into `<cluster>-app`."""
    database_provider_class: ObjectName | None = None
    """The SecretProviderClass that mounts `uri`, instead of a Secret."""
    keys_secret: ObjectName | None = None
    """Every file that `aboveboard audit key --origin NAME` makes: the same for every pod, the log's name in them."""
    keys_provider_class: ObjectName | None = None
    """The SecretProviderClass that mounts those files, instead of a Secret."""
    kek: Annotated[str, Field(pattern=r"^(awskms|vault):[A-Za-z0-9:/_.-]{1,512}$", max_length=520)] | None = None
    """A key service's key that encrypts the keys of people."""
    vault: Vault | None = None
    """How pods log in to Vault; it goes with a `kek` of Vault's."""
    tiles: (
        Annotated[str, Field(pattern=r"^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^ ]*)?$", max_length=1024)] | None
    ) = None
    """Where the log is published, e.g. `s3://bucket/prefix?region=eu-west-1`. By default in the database."""
    credentials_secret: ObjectName | None = None
    """Key `credentials`: an AWS credentials file for S3 and KMS. Without it the identity of the pod counts."""
    credentials_provider_class: ObjectName | None = None
    """The SecretProviderClass that mounts `credentials`, instead of a Secret."""
    destinations: Annotated[tuple[Destination, ...], Field(max_length=8)] = ()
    """The database, the object store and the key service, which pods must reach; or name them with the network."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        if (self.database_secret is None) == (self.database_provider_class is None):
            raise ValueError("name either databaseSecret or databaseProviderClass")
        if (self.keys_secret is None) == (self.keys_provider_class is None):
            raise ValueError("name either keysSecret or keysProviderClass")
        if self.credentials_secret is not None and self.credentials_provider_class is not None:
            raise ValueError("name credentialsSecret or credentialsProviderClass, not both")
        if (self.kek is not None and self.kek.startswith("vault:")) != (self.vault is not None):
            raise ValueError("vault goes with a kek of Vault's, and such a kek with vault")
        return self


class Integrations(Strict):
    """Which other systems this cluster has. Nothing is assumed: without any, plain Kubernetes objects are made."""

    istio: Istio | None = None
    gateway: Gateway | None = None
    prometheus: Prometheus | None = None
    keda: Keda | None = None
    vertical_pod_autoscaler: VerticalPodAutoscaler | None = None
    argo_rollouts: ArgoRollouts | None = None
    tracing: Tracing | None = None
