"""`aboveboard crds`: the custom resources, and what the API server is told about admission, as YAML."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from aboveboard.errors import Misuse


@click.command(name="crds")
@click.option("--policies", is_flag=True, help="Also the CEL policies for decision pods (ValidatingAdmissionPolicy).")
@click.option(
    "--webhook",
    metavar="NAMESPACE/SERVICE",
    help="Also the configuration that has the admission webhook behind this Service asked.",
)
@click.option("--certificate", metavar="NAMESPACE/NAME", help="cert-manager's Certificate of the webhook.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The root of the webhook's certificate (ca.crt), where there is no cert-manager.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON List instead of YAML documents.")
def command(policies: bool, webhook: str | None, certificate: str | None, root: Path | None, as_json: bool) -> None:
    """Print the custom resource definitions of DecisionService, Model and PolicyPack.

    \b
    aboveboard crds | kubectl apply --server-side -f -
    """
    from ruamel.yaml import YAML

    from aboveboard.cluster.crds import crd_documents
    from aboveboard.cluster.policies import admission_policies, webhook_configuration
    from aboveboard.files import storage_errors

    documents = crd_documents()
    if policies:
        documents += admission_policies()
    if webhook is not None:
        namespace, _, service = webhook.partition("/")
        if not namespace or not service:
            raise Misuse(f"{webhook!r} does not name a Service", hint="write it as namespace/name")
        if (certificate is None) == (root is None):
            raise Misuse(
                "the API server has to know whose certificate to trust", hint="give one of --certificate and --root"
            )
        content = None
        if root is not None:
            with storage_errors(root):
                content = root.read_bytes()
        documents.append(
            webhook_configuration(namespace=namespace, service=service, certificate=certificate, root=content)
        )
    if as_json:
        click.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=2))
        return
    yaml = YAML(pure=True)
    yaml.width = 120
    yaml.representer.ignore_aliases = lambda *_: True
    for document in documents:
        click.echo("---")
        yaml.dump(document, sys.stdout)
