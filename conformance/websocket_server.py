"""A WebSocket echo. Prints `ready PORT`, then one line for each connection: `open PATH HEADERS`."""

import asyncio

from websockets.asyncio.server import serve


async def echo(connection):
    request = connection.request
    names = sorted({name.lower() for name in request.headers})
    print("open", request.path, ",".join(names), flush=True)
    async for message in connection:
        await connection.send(message)


async def main():
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        print("ready", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
