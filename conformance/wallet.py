"""A wallet that has somebody else pay: it posts invoices to a pay endpoint and counts them."""

import httpx


class StubWallet:
    def __init__(self, pay_url):
        self.pay_url = pay_url
        self.payments = 0

    def pay(self, invoice):
        answer = httpx.post(self.pay_url, json={"invoice": invoice})
        answer.raise_for_status()
        self.payments += 1
        return answer.json()["preimage"]
