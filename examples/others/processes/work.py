"""Plain `multiprocessing`: processes and a pool, forked or spawned, and every line of all of them goes to one file.

``python work.py fork``, or ``spawn``, or ``forkserver``.
"""

import logging
import multiprocessing
import sys

import logboom
from logboom import context

# A spawned process imports this file again and has to configure for itself: so not only below `__main__`.
installation = logboom.configure()
log = logging.getLogger("work")


def pack(order):
    with context.bind(order=order):
        log.info("packed")
        log.debug("written at the level debug only")


def main(method):
    start = multiprocessing.get_context(method)
    processes = [start.Process(target=pack, args=(order,)) for order in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    with start.Pool(4) as pool:
        pool.map(pack, range(4, 100))
    # Here the pool's processes were killed by SIGTERM. Their records were in the file, or in shared memory, before.
    log.info("done")


if __name__ == "__main__":
    main(sys.argv[1])
