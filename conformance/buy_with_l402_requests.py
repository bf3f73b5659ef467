"""PyPI l402-requests: a client with budgets that refuses unknown or zero amounts."""

import json
import sys

from l402_requests import L402Client
from wallet import StubWallet


class Paying:
    supports_preimage = True

    def __init__(self, stub):
        self.stub = stub

    def pay_invoice_sync(self, bolt11):
        return self.stub.pay(bolt11)


def main(url, pay_url):
    stub = StubWallet(pay_url)
    answer = L402Client(wallet=Paying(stub)).get(url)
    bought = {"status": answer.status_code, "body": answer.text, "payments": stub.payments}
    print(json.dumps(bought))


main(*sys.argv[1:])
