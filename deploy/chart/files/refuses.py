"""Ask the admission webhook about a service nobody released: it must answer, and refuse. What `helm test` runs."""

import json
import os
import ssl
import time
import urllib.request

REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {
        "uid": "helm-test",
        "kind": {"group": "aboveboard.dev", "version": "v1alpha1", "kind": "DecisionService"},
        "operation": "CREATE",
        "namespace": "default",
        "object": {
            "apiVersion": "aboveboard.dev/v1alpha1",
            "kind": "DecisionService",
            "metadata": {"name": "helm-test", "namespace": "default"},
            "spec": {
                "model": "helm-test",
                "releases": {"champion": "sha256:" + "0" * 64},
                "jurisdictions": ["eu"],
                "regions": ["nowhere"],
                "access": {"subjectKeySecret": "none", "clientsSecret": "none"},
            },
        },
    },
}
authority = os.environ.get("AUTHORITY", "/etc/aboveboard/authority/ca.crt")
for attempt in range(30):
    try:
        request = urllib.request.Request(
            os.environ["ADMISSION_URL"], json.dumps(REVIEW).encode(), {"Content-Type": "application/json"}
        )
        context = ssl.create_default_context(cafile=authority)
        with urllib.request.urlopen(request, timeout=15, context=context) as answer:
            response = json.load(answer)["response"]
        break
    except OSError:
        if attempt == 29:
            raise
        time.sleep(2)
assert response["uid"] == "helm-test", response
assert response["allowed"] is False, response
print("refused, as it must be:", response["status"]["message"])
