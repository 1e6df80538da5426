"""The command `logboom`, which is started as the relay when records are to be shipped and none is running."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from functools import cache

NAME = "logboom"


@cache
def program() -> str | None:
    """Its path: beside this interpreter, where it was installed with the package, else on `PATH`; None: nowhere."""
    folders = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    user = f"{os.name}_user"
    if user in sysconfig.get_scheme_names():
        folders.append(sysconfig.get_path("scripts", user))
    for folder in folders:
        path = os.path.join(folder, NAME)
        if os.access(path, os.X_OK):
            return path
    return shutil.which(NAME)
