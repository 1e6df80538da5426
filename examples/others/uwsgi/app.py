"""A WSGI application for uWSGI with several processes: every line of every process goes to one file."""

import logging

import logboom
import logboom.wsgi

logboom.configure()
log = logging.getLogger("shop")


def shop(environ, start_response):
    log.info("order %s", environ["PATH_INFO"].rpartition("/")[2])
    log.debug("written at the level debug only")
    start_response("200 OK", [("Content-Length", "7")])
    return [b"thanks\n"]


application = logboom.wsgi.Middleware(shop)
