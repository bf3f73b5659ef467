// Chromium as a buyer: goes to a priced address and waits on its page for the payment, which
// whoever runs this makes. Says what it saw in lines of JSON:
//   {"invoice", "qr"}          once the page is there; a line on standard input says that it is
//                              "paid", or is a preimage to type in
//   {"text", "navigations", …} when the answer is there
//
// Its one argument is JSON:
//   url          where to go; with "from", by the link on that page
//   wait_for     a text of the answer; with "element", in an element that this selects
//   javascript   false for a browser without
//   webln        whether the browser has a wallet that pays when the page asks it to
//   screenshot   a file for a picture of the page before it is paid
//   save         whether the answer is a file to save
//   then_reload  whether to reload the page at the end

const readline = require('node:readline');
const jsqr = require('jsqr');
const { PNG } = require('pngjs');
const { chromium } = require('playwright-core');

const ask = JSON.parse(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (report) => console.log(JSON.stringify(report));
const PATIENCE = { timeout: 60_000 };

// What a camera would see.
async function scan(page) {
  const shot = await page.locator('svg.qr').screenshot();
  const { data, width, height } = PNG.sync.read(shot);
  const code = jsqr(new Uint8ClampedArray(data), width, height);
  return code && code.data;
}

async function main() {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage'],
  });
  const context = await browser.newContext({
    javaScriptEnabled: ask.javascript !== false,
    viewport: { width: 480, height: 860 },
    acceptDownloads: true,
  });
  const page = await context.newPage();
  const seen = { navigations: 0, elsewhere: [], complaints: [] };
  page.on('framenavigated', (frame) => { if (frame === page.mainFrame()) seen.navigations += 1; });
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith('http') && url.host !== new URL(ask.url).host) seen.elsewhere.push(url.href);
  });
  page.on('pageerror', (error) => seen.complaints.push(String(error)));

  if (ask.webln) {
    // The wallet of this browser is whoever runs this.
    await context.exposeFunction('payByHand', async (invoice) => {
      seen.wallet_was_asked = invoice;
      await lines.next();
    });
    await context.addInitScript(() => {
      const sendPayment = async (invoice) => {
        await window.payByHand(invoice);
        return { preimage: 'the wallet has one' };
      };
      window.webln = { enable: async () => {}, sendPayment };
    });
  }
  if (ask.from) {
    await page.goto(ask.from);
    await page.click('a');
    await page.waitForURL(ask.url);
  } else {
    const reply = await page.goto(ask.url);
    seen.status = reply.status();
  }
  await page.locator('svg.qr').waitFor(PATIENCE);
  const shown = {
    invoice: (await page.locator('#invoice').textContent()).trim(),
    qr: await scan(page),
  };
  if (ask.javascript !== false) {
    shown.scripts_see = await page.evaluate(() => document.cookie);
    await page.evaluate(() => { window.notReloaded = true; });
    // The count-down runs.
    await page.waitForFunction(() => document.getElementById('expiry').textContent !== '', null, PATIENCE);
  }
  if (ask.screenshot) await page.screenshot({ path: ask.screenshot });
  const before = seen.navigations;
  say(shown);

  const told = ask.webln ? await page.click('#pay-here') : (await lines.next()).value;
  if (told && told !== 'paid') {
    // Open once it is known that nobody else will tell.
    await page.locator('#by-hand[open] #preimage').fill(told, PATIENCE);
    await page.click('#by-hand button');
  }
  await page.locator(ask.element || 'body', { hasText: ask.wait_for }).waitFor(PATIENCE);
  const end = { ...seen, navigations: seen.navigations - before };
  end.text = await page.locator('body').innerText();
  end.title = await page.title();
  if (ask.javascript !== false) {
    end.not_reloaded = await page.evaluate(() => window.notReloaded === true);
    end.color = await page.evaluate(() => getComputedStyle(document.body).color);
    end.image = await page.evaluate(async () => {
      const image = document.querySelector('img');
      if (image) await image.decode().catch(() => null);
      return image && image.naturalWidth;
    });
    end.script_ran = await page.evaluate(() => window.fromTheAnswer === true);
  }
  if (ask.save) {
    const [file] = await Promise.all([page.waitForEvent('download', PATIENCE), page.click('a[download]')]);
    const chunks = [];
    for await (const chunk of await file.createReadStream()) chunks.push(chunk);
    end.saved = { name: file.suggestedFilename(), text: Buffer.concat(chunks).toString() };
  }
  if (ask.then_reload) {
    const reply = await page.reload();
    end.reloaded = { status: reply.status(), replayed: reply.headers()['farebox-replayed'] === 'true' };
  }
  say(end);
  await browser.close();
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
