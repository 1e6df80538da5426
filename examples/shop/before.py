"""The shop as it was before: a `dictConfig` with the standard library's rotating handler, in every worker.

`cargo xtask demo` runs it with the same traffic to compare; see README.md. Settings come from the environment: SHOP_LOG
(file, default shop.log), SHOP_MAX_BYTES and SHOP_BACKUPS (rotation).
"""

import logging
import logging.config
import os

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)-8s [%(process)d] %(name)s: %(message)s"},
    },
    "handlers": {
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "filename": os.environ.get("SHOP_LOG", "shop.log"),
            "maxBytes": int(os.environ.get("SHOP_MAX_BYTES", "1000000")),
            "backupCount": int(os.environ.get("SHOP_BACKUPS", "10")),
            "encoding": "utf-8",
            "formatter": "line",
        },
    },
    "loggers": {"shop": {"level": "INFO", "handlers": ["file"], "propagate": False}},
}

logging.config.dictConfig(LOGGING)

from shop import app  # noqa: E402


@app.post("/admin/rotate")
def rotate():
    """Rotates the log by hand, which only a worker can do, for itself."""
    for handler in logging.getLogger("shop").handlers:
        handler.doRollover()
    app.logger.info("log rotated by hand")
    return {"rotated": True}
