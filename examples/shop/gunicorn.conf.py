"""Gunicorn for the shop: four workers with threads.

Nothing here has to do with logging; that is logboom.toml. With SHOP_PROOF=<directory> the records are numbered and
accounted for (see proof.py); `cargo xtask demo` does that.
"""

import os
import sys

bind = os.environ.get("SHOP_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("SHOP_WORKERS", "4"))
worker_class = "gthread"
threads = 4
graceful_timeout = 10
control_socket_disable = True  # Gunicorn 26 and newer would open one in the home directory

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

if "SHOP_PROOF" in os.environ:
    import proof

    proof.install(os.environ["SHOP_PROOF"], "shop")
