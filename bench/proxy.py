"""The floor: the least that a reverse proxy on aiohttp does. It listens on a Unix socket and passes everything on.

Nothing is read, decided or written down here; what agentd costs above this is the price of governing.

    python -m bench.proxy SOCKET UPSTREAM [--uvloop]        prints `ready`
"""

import asyncio
import sys

import uvloop
from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

MAX_BODY = 1 << 26
PASSED_ON = ("Content-Type",)


def application(upstream: str, session: ClientSession) -> web.Application:
    """The proxy as an application."""

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        async with session.request(request.method, upstream + request.path, data=body, headers=headers) as answer:
            kind = answer.headers["Content-Type"]
            if not kind.startswith("text/event-stream"):
                return web.Response(status=answer.status, body=await answer.read(), headers={"Content-Type": kind})
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": kind})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_route("*", "/{path:.*}", relay)
    return app


async def serve(path: str, upstream: str) -> None:
    """Serve until killed."""
    connector = TCPConnector(limit=0)
    async with ClientSession(connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False) as session:
        runner = web.AppRunner(application(upstream, session), access_log=None)
        await runner.setup()
        await web.UnixSite(runner, path).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run = uvloop.run if "--uvloop" in sys.argv else asyncio.run
    run(serve(sys.argv[1], sys.argv[2]))
