"""An ASGI application for uvicorn with several workers: every line of every process goes to one file."""

import logging

import logboom.asgi

log = logging.getLogger("shop")


async def shop(scope, receive, send):
    if scope["type"] != "http":
        return
    log.info("order %s", scope["path"].rpartition("/")[2])
    log.debug("written at the level debug only")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"7")]})
    await send({"type": "http.response.body", "body": b"thanks\n"})


app = logboom.asgi.Middleware(shop)
