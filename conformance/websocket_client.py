"""Sends texts and a large binary message to a WebSocket echo: `URL [AUTHORIZATION]`.

Prints `{"status", "texts", "large_is_intact"}`; the status is 101 when the socket opened.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

LARGE = bytes(range(251)) * 8192


async def talk(url, headers):
    async with connect(url, additional_headers=headers, max_size=None, proxy=None) as socket:
        texts = []
        for text in ("one", "two", "three"):
            await socket.send(text)
            texts.append(await socket.recv())
        await socket.send(LARGE)
        large_is_intact = await socket.recv() == LARGE
        return {"status": 101, "texts": texts, "large_is_intact": large_is_intact}


async def main(url, authorization=None):
    headers = {"Authorization": authorization} if authorization else {}
    try:
        told = await talk(url, headers)
    except InvalidStatus as refused:
        told = {"status": refused.response.status_code, "texts": [], "large_is_intact": False}
    print(json.dumps(told))


asyncio.run(main(*sys.argv[1:]))
