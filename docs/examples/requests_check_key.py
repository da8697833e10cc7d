"""Whether the address and the key are right, with requests.

Needs DROVEWAY_URL (without /v1) and DROVEWAY_KEY; exits with 1 when something is wrong.
"""

import os
import sys

import requests

ADVICE = {
    401: "the key is wrong, expired or disabled: look for blanks, then ask the operator",
    403: "the key isn't allowed from this address",
    404: "the base URL is wrong",
}


def main() -> int:
    """Lists the models that the key may use."""
    try:
        answer = requests.get(
            f"{os.environ['DROVEWAY_URL']}/v1/models",
            headers={"Authorization": f"Bearer {os.environ['DROVEWAY_KEY'].strip()}"},
            timeout=10,
        )
    except requests.ConnectionError as error:
        print("no connection:", error)
        return 1
    if answer.status_code != 200:
        code = answer.json()["error"]["code"]
        print(answer.status_code, code, "-", ADVICE.get(answer.status_code, ""))
        return 1
    print("the key works for", ", ".join(model["id"] for model in answer.json()["data"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
