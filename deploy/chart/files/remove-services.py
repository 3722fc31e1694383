"""Remove the decision services of this release while their operator still runs: what Helm does before it uninstalls.

Helm would take the operator away first; then nobody would be left to take their finalizer off, and they would never go.
"""

import os
import ssl
import time
import urllib.error
import urllib.request

ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
SECONDS = 240
address = os.environ.get("API_URL") or (
    f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT_HTTPS']}"
)
trust = ssl.create_default_context(cafile=f"{ACCOUNT}/ca.crt") if address.startswith("https") else None


def there(method, path):
    """Send a request; tell whether what it is about is there."""
    token = open(os.environ.get("API_TOKEN_FILE", f"{ACCOUNT}/token"), encoding="utf-8").read()
    request = urllib.request.Request(address + path, method=method, headers={"Authorization": f"Bearer {token}"})
    try:
        urllib.request.urlopen(request, timeout=15, context=trust).close()
    except urllib.error.HTTPError as refusal:
        if refusal.code != 404:
            raise
        return False
    return True


services = os.environ["SERVICES"].split(",")
paths = {
    each: "/apis/aboveboard.dev/v1alpha1/namespaces/{}/decisionservices/{}".format(*each.split("/")) for each in services
}
left = {each: path for each, path in paths.items() if there("DELETE", path)}
until = time.monotonic() + SECONDS
while left := {each: path for each, path in left.items() if there("GET", path)}:
    if time.monotonic() > until:
        raise SystemExit(f"still there: {', '.join(left)}; is the operator running?")
    time.sleep(1)
print("removed:", ", ".join(services))
