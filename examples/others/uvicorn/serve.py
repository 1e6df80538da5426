"""The same without a command line: `python serve.py`."""

import logboom
import uvicorn

# uvicorn starts its workers afresh ("spawn"), and each of them imports this file: so not only below `__main__`.
logboom.configure()

if __name__ == "__main__":
    uvicorn.run("app:app", port=8000, workers=4, log_config=None, access_log=False)
