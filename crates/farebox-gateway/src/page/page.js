'use strict';
(() => {
  const main = document.getElementById('pay');
  if (!main) return;
  const at = (id) => document.getElementById(id);
  const say = (text) => { at('status').textContent = text; };
  const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));
  const invoice = main.dataset.invoice;
  const endsAt = Date.now() + Number(main.dataset.expiresIn) * 1000;

  const copy = at('copy');
  copy.hidden = !navigator.clipboard;
  copy.addEventListener('click', async () => {
    await navigator.clipboard.writeText(invoice);
    copy.textContent = 'Copied';
  });

  const webln = at('pay-here');
  const offerWebln = () => { webln.hidden = !window.webln; };
  offerWebln();
  window.addEventListener('load', offerWebln);
  webln.addEventListener('click', async () => {
    try {
      await window.webln.enable();
      const paid = await window.webln.sendPayment(invoice);
      if (!at('by-hand').open || !paid.preimage) return;
      at('preimage').value = paid.preimage;
      at('preimage').form.submit();
    } catch (error) { say('The browser wallet did not pay: ' + error.message); }
  });

  const countDown = setInterval(() => {
    const left = Math.max(0, Math.round((endsAt - Date.now()) / 1000));
    const two = (n) => String(n).padStart(2, '0');
    at('expiry').textContent = left > 0
      ? 'The invoice can be paid for another ' + Math.floor(left / 60) + ':' + two(left % 60)
      : 'The invoice has expired.';
    if (left === 0) clearInterval(countDown);
  }, 1000);

  const ask = async () => {
    const headers = { 'farebox-claim-status': 'wait', 'accept': 'application/json' };
    const reply = await fetch(location.href, { headers, cache: 'no-store' });
    return reply.ok ? (await reply.json()).state : 'unknown';
  };

  const wait = async () => {
    for (;;) {
      const asked = Date.now();
      let state = 'unknown';
      try { state = await ask(); } catch { /* the network may come back */ }
      if (state === 'paid') return show();
      if (state === 'canceled') return end('Nothing was taken: a payment for this was given back.');
      if (state === 'untold') return untold();
      if (state === 'expired') return end('The invoice has expired unpaid.');
      if (Date.now() - asked < 1000) await pause(2000);
    }
  };

  const untold = () => {
    at('by-hand').open = true;
    say('The payment cannot be seen from here: enter the preimage that the wallet shows.');
  };

  const end = (why) => {
    clearInterval(countDown);
    at('again').textContent = 'Ask for a new invoice';
    say(why);
  };

  const show = async () => {
    say('Paid. Fetching the answer …');
    const headers = { accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
    for (let tries = 0; tries < 30; tries += 1) {
      let reply;
      try {
        reply = await fetch(location.href, { headers, cache: 'no-store' });
      } catch {
        // Where the answer lies elsewhere, only the browser itself may go.
        return location.reload();
      }
      if (reply.status === 409 || reply.status === 503) {
        await pause(1000 * Number(reply.headers.get('retry-after') || 2));
        continue;
      }
      return reply.ok ? replace(reply) : fail(reply);
    }
    say('The answer does not come. What was paid is not lost: ask for this page again.');
  };

  const fail = async (reply) => {
    say('The answer was an error: ' + reply.status + ' ' + reply.statusText);
    const box = document.createElement('pre');
    const type = reply.headers.get('content-type') || '';
    box.textContent = type.includes('html') ? '' : await reply.text();
    at('status').append(box);
    at('again').textContent = 'Try again';
  };

  const replace = async (reply) => {
    clearInterval(countDown);
    const type = (reply.headers.get('content-type') || '').split(';')[0].trim().toLowerCase();
    const attached = /^attachment/i.test(reply.headers.get('content-disposition') || '');
    if (attached) return download(reply);
    if (type === 'text/html' || type === 'application/xhtml+xml') return showHtml(await reply.text());
    if (type.startsWith('image/')) return showImage(await reply.blob());
    if (type === 'application/json' || type.endsWith('+json')) return showJson(await reply.text());
    if (type.startsWith('text/') || type.endsWith('xml') || type === 'application/x-ndjson') return showText(reply);
    return download(reply);
  };

  const only = (node) => { document.body.replaceChildren(node); document.title = location.pathname; };

  const showJson = (text) => {
    const box = document.createElement('pre');
    try { box.textContent = JSON.stringify(JSON.parse(text), null, 2); } catch { box.textContent = text; }
    only(box);
  };

  const showText = async (reply) => {
    const box = document.createElement('pre');
    only(box);
    if (!reply.body) return;
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) box.append(part.value);
  };

  const showImage = (blob) => {
    const image = document.createElement('img');
    image.src = URL.createObjectURL(blob);
    image.alt = '';
    only(image);
  };

  const download = async (reply) => {
    const link = document.createElement('a');
    link.href = URL.createObjectURL(await reply.blob());
    link.download = location.pathname.split('/').pop() || 'answer';
    link.textContent = 'Save ' + link.download;
    link.className = 'button';
    only(link);
  };

  // This page's policy still holds for what takes its place: scripts stay off, and styles are taken
  // over by hand.
  const showHtml = async (text) => {
    const answer = new DOMParser().parseFromString(text, 'text/html');
    const cut = answer.querySelector('script, iframe, video, audio, object, embed, img[src^=http], link[href^=http]');
    const styles = [...answer.querySelectorAll('style')].map((style) => style.textContent);
    const sheets = [...answer.querySelectorAll('link[rel~=stylesheet][href]')];
    for (const sheet of sheets) {
      const url = new URL(sheet.getAttribute('href'), location.href);
      if (url.origin !== location.origin) continue;
      try { styles.push(await (await fetch(url)).text()); } catch { /* then without it */ }
    }
    for (const dead of answer.querySelectorAll('script, style, base, meta[http-equiv]')) dead.remove();
    const inline = [...answer.querySelectorAll('[style]')].map((element) => {
      const style = element.getAttribute('style');
      element.removeAttribute('style');
      return [element, style];
    });
    document.replaceChild(document.adoptNode(answer.documentElement), document.documentElement);
    document.adoptedStyleSheets = styles.map((style) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(style);
      return sheet;
    });
    for (const [element, style] of inline) element.style.cssText = style;
    if (cut) offerWhole();
  };

  const offerWhole = () => {
    const link = document.createElement('a');
    link.href = '';
    link.textContent = main.dataset.again === 'free'
      ? 'Open the whole page, with scripts and media'
      : 'Open the whole page, with scripts and media (counts as another request)';
    const line = document.createElement('p');
    line.append(link);
    document.body.append(line);
  };

  if (!navigator.cookieEnabled) say('This page needs cookies, to know who has paid.');
  else if (main.dataset.mode === 'node') wait();
})();
