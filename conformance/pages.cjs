// An upstream with an answer of every kind that a page shows in its own way. Prints `ready PORT`.

const http = require('node:http');

const PIXEL = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

const HTML = `<!DOCTYPE html>
<html><head><title>Bought</title>
<style>body { color: rgb(1, 2, 3); }</style>
<script>window.fromTheAnswer = true; document.body.textContent = 'the script ran';</script>
</head><body onload="window.fromTheAnswer = true">
<h1>the bought page</h1><p style="font-weight: 700">in bold</p><img src="x" onerror="window.fromTheAnswer = true" hidden>
</body></html>`;

const answers = {
  '/html': ['text/html; charset=utf-8', HTML],
  '/json': ['application/json', '{"bought":["json",1]}'],
  '/image': ['image/png', PIXEL],
  '/text': ['text/plain; charset=utf-8', 'bought text, not <b>markup</b>'],
  '/file': ['application/octet-stream', 'bought bytes'],
};

const server = http.createServer((request, response) => {
  const path = request.url.replace(/^\/paid/, '').split('?')[0];
  if (path.startsWith('/link')) {
    // A page of another site that leads to an address.
    const to = new URL(request.url, 'http://x').searchParams.get('to');
    response.setHeader('content-type', 'text/html');
    return response.end(`<a href="${to}">there</a>`);
  }
  if (path === '/stream') {
    response.setHeader('content-type', 'text/event-stream');
    response.write('data: first\n\n');
    return setTimeout(() => response.end('data: last\n\n'), 300);
  }
  const answer = answers[path];
  if (!answer) {
    response.statusCode = 404;
    return response.end();
  }
  response.setHeader('content-type', answer[0]);
  return response.end(answer[1]);
});

server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
