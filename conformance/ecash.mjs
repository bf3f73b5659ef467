// npm @cashu/cashu-ts, the library of web wallets: mints coins, reads what a seller asks for, pays by
// X-Cashu with fetch, and redeems the change.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// Modules are not looked for in NODE_PATH, where the packages lie.
const library = `${process.env.NODE_PATH}/@cashu/cashu-ts/lib/cashu-ts.es.js`;
const cashu = await import(pathToFileURL(library));

const sum = (proofs) => cashu.sumProofs(proofs).toNumber();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

async function mint(wallet, amount) {
  const quote = await wallet.createMintQuoteBolt11(amount);
  for (;;) {
    const now = await wallet.checkMintQuoteBolt11(quote.quote);
    if (now.state === "PAID") break;
    await sleep(50);
  }
  return wallet.mintProofsBolt11(amount, quote);
}

const wish = JSON.parse(readFileSync(0, "utf8"));
const wallet = new cashu.Wallet(wish.mint, { unit: wish.unit });
await wallet.loadMint();
let proofs = await mint(wallet, wish.amount);
const before = sum(proofs);

const unpaid = await fetch(wish.url);
const request = cashu.decodePaymentRequest(unpaid.headers.get("x-cashu"));
const asked = {
  status: unpaid.status,
  amount: request.amount.toNumber(),
  unit: request.unit,
  mints: request.mints,
};

const answers = [];
for (let call = 0; call < wish.calls; call += 1) {
  const { send, keep } = await wallet.send(wish.pays, proofs);
  const token = cashu.getEncodedToken({ mint: wish.mint, proofs: send, unit: wish.unit });
  const paid = await fetch(wish.url, { headers: { "X-Cashu": token } });
  const told = paid.headers.get("x-cashu");
  const change = await wallet.receive(told);
  proofs = [...keep, ...change];
  answers.push({ status: paid.status, paid: sum(send), back: sum(change), body: await paid.text() });
}
console.log(JSON.stringify({ asked, answers, before, after: sum(proofs) }));
