// npm @getalby/lightning-tools: fetch402 with any object that can payInvoice.

const { fetch402 } = require("@getalby/lightning-tools/402");
const { StubWallet } = require("./wallet.cjs");

async function main([url, payUrl]) {
  const stub = new StubWallet(payUrl);
  const wallet = { payInvoice: async ({ invoice }) => ({ preimage: await stub.pay(invoice) }) };
  const answer = await fetch402(url, {}, { wallet });
  const body = await answer.text();
  console.log(JSON.stringify({ status: answer.status, body, payments: stub.payments }));
}

main(process.argv.slice(2));
