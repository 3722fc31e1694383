"""Ask the trial server for a decision, and read its record back: what `helm test` runs."""

import json
import os
import time
import urllib.error
import urllib.request

URL = os.environ["ABOVEBOARD_URL"]
REQUEST = {
    "subject": "helm-test",
    "jurisdiction": "eu",
    "locale": "en",
    "cohort": {"sex": "female", "age": 34},
    "features": {
        "LIMIT_BAL": 20000,
        **dict.fromkeys(("PAY_3", "PAY_4", "PAY_5", "PAY_6"), 0),
        **{"PAY_0": 2, "PAY_2": 2},
        **{f"BILL_AMT{month}": 0 for month in range(1, 7)},
        **{f"PAY_AMT{month}": 0 for month in range(1, 7)},
    },
}


def ask(path, document=None):
    """Return the JSON answer of the server."""
    request = urllib.request.Request(
        URL + path,
        data=None if document is None else json.dumps(document).encode(),
        headers={"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


for _ in range(60):
    try:
        urllib.request.urlopen(URL + "/readyz", timeout=5).close()
        break
    except OSError:
        time.sleep(2)

decision = ask("/v1/decisions", REQUEST)
assert decision["outcome"] in ("approve", "refer", "decline"), decision
assert decision["outcome"] == "approve" or decision["reasons"], decision
receipt = ask(f"/v1/receipts/{decision['decision_id']}")
assert receipt, receipt
try:
    ask("/v1/decisions", {**REQUEST, "features": {}})
except urllib.error.HTTPError as refusal:
    assert json.load(refusal)["code"] == "request-refused"
else:
    raise AssertionError("a request outside the contract was answered")
print("decided:", decision["outcome"], "by", decision["release"])
