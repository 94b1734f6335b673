"""A door before agentd's door that counts: how often a client posts, and what it was answered each time. It can drop the
connection in the middle of an answer, as a network does."""

import asyncio
import threading

from aiohttp import ClientSession, web

PATIENCE_S = 30.0
MAX_BODY = 64 * 1024 * 1024
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})


class Counter(threading.Thread):
    """Listens at `url`, passes everything on. `statuses` are those of the answers to posts, in order."""

    def __init__(self, to: str, *, cut_after: int | None = None) -> None:
        """`to` is agentd's door; `cut_after`: bytes of an answer after which the connection drops."""
        super().__init__(daemon=True)
        self.statuses: list[int] = []
        self.url = ""
        self._to = to
        self._token = ""
        self._cut_after = cut_after
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._ended: asyncio.Event
        self._session: ClientSession

    def begin(self) -> "Counter":
        """Start, and wait until it listens."""
        self.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def aim(self, to: str, token: str, cut_after: int | None) -> None:
        """From now on go to another door, with another token than the client's, and count anew."""
        self._to, self._token, self._cut_after = to, token, cut_after
        self.statuses = []

    def end(self) -> None:
        """Stop listening."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self.join(PATIENCE_S)

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        async with ClientSession(auto_decompress=False) as self._session:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._ready.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP]
        if self._token:
            headers = [(name, value) for name, value in headers if name.lower() != "authorization"]
            headers.append(("Authorization", f"Bearer {self._token}"))
        asked = self._session.request(request.method, self._to + request.path_qs, data=body, headers=headers)
        async with asked as answer:
            if request.method == "POST":
                self.statuses.append(answer.status)
            kept = [(name, value) for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP]
            response = web.StreamResponse(status=answer.status, headers=dict(kept))
            await response.prepare(request)
            passed = 0
            async for chunk in answer.content.iter_any():
                if self._cut_after is not None and passed > self._cut_after and request.transport is not None:
                    request.transport.abort()
                    raise ConnectionResetError  # so that nothing is written after it
                await response.write(chunk)
                passed += len(chunk)
            await response.write_eof()
            return response
