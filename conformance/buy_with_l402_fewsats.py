"""PyPI l402 0.0.9: a wrapper around requests with credentials in SQLite."""

import json
import os
import sys
import tempfile

from l402.client import PreimageProvider, requests
from l402.client.credentials import SqliteCredentialsService
from wallet import StubWallet


class Paying(PreimageProvider):
    def __init__(self, stub):
        self.stub = stub

    def get_preimage(self, invoice):
        return self.stub.pay(invoice)


def main(url, pay_url):
    stub = StubWallet(pay_url)
    with tempfile.TemporaryDirectory() as folder:
        credentials = SqliteCredentialsService(os.path.join(folder, "credentials.db"))
        requests.configure(preimage_provider=Paying(stub), credentials_service=credentials)
        answer = requests.get(url)
    bought = {"status": answer.status_code, "body": answer.text, "payments": stub.payments}
    print(json.dumps(bought))


main(*sys.argv[1:])
