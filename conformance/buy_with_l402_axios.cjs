// npm l402: an axios interceptor with a wallet and a token store.

const axios = require("axios");
const { MemoryTokenStore, PaymentResult, Wallet, setupL402Interceptor } = require("l402");
const { StubWallet } = require("./wallet.cjs");

class Paying extends Wallet {
  constructor(stub) {
    super();
    this.stub = stub;
  }

  async payInvoice(invoice) {
    return new PaymentResult(await this.stub.pay(invoice), true);
  }
}

async function main([url, payUrl]) {
  const stub = new StubWallet(payUrl);
  const client = axios.create({ responseType: "text", transformResponse: (body) => body });
  setupL402Interceptor(client, new Paying(stub), new MemoryTokenStore());
  const { status, data } = await client.get(url);
  console.log(JSON.stringify({ status, body: data, payments: stub.payments }));
}

main(process.argv.slice(2));
