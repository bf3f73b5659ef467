"""pymacaroons as an oracle. Reads one line of JSON, prints one.

    {"do": "verify", "root_key": hex, "macaroon": base64}  -> {"verified", "location",
                                                              "identifier": hex, "caveats"}
    {"do": "issue", "root_key": hex, "location", "identifier": hex, "caveats"}
                                                          -> {"macaroon": base64}

Root keys are raw bytes here: libmacaroons, and so pymacaroons, derives the signing key itself.
"""

import base64
import json
import sys

from pymacaroons import MACAROON_V2, Macaroon, Verifier
from pymacaroons.exceptions import MacaroonException
from pymacaroons.serializers import BinarySerializer


def verify(asked):
    raw = base64.standard_b64decode(asked["macaroon"])
    macaroon = BinarySerializer().deserialize_raw(raw)
    verifier = Verifier()
    verifier.satisfy_general(lambda caveat: True)
    try:
        verified = verifier.verify(macaroon, bytes.fromhex(asked["root_key"]))
    except MacaroonException:
        verified = False
    return {
        "verified": verified,
        "location": macaroon.location,
        "identifier": macaroon.identifier_bytes.hex(),
        "caveats": [caveat.caveat_id_bytes.decode() for caveat in macaroon.caveats],
    }


def issue(asked):
    macaroon = Macaroon(
        location=asked["location"],
        identifier=bytes.fromhex(asked["identifier"]),
        key=bytes.fromhex(asked["root_key"]),
        version=MACAROON_V2,
    )
    for caveat in asked["caveats"]:
        macaroon.add_first_party_caveat(caveat)
    raw = BinarySerializer().serialize_raw(macaroon)
    return {"macaroon": base64.standard_b64encode(raw).decode()}


def main():
    asked = json.loads(sys.stdin.read())
    print(json.dumps({"verify": verify, "issue": issue}[asked["do"]](asked)))


main()
