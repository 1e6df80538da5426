"""examples/relay works: the units are right for systemd, the manifest fits the relay, and two containers share one log.

A container is here what it is to logboom: a process with process ids, mounts and shared memory of its own (`unshare`),
that sees the volume of the log and no more of the other one.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accounts import wait_until
from logboom import _relay
from logboom._native import load_config
from receivers import Receiver, free_port

yaml = pytest.importorskip("yaml", reason="PyYAML is in tests/python/requirements.txt")

EXAMPLE = Path(__file__).parents[2] / "examples/relay"
APART = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]


@pytest.mark.parametrize("name", ["shop.service", "shop-relay.service"])
def test_systemd_finds_nothing_wrong_with_a_unit(name: str, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("`systemd-analyze` is not installed; it comes with systemd")
    # It looks for the program, which is not installed there.
    unit = (EXAMPLE / "systemd" / name).read_text()
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={sys.executable}", unit, flags=re.MULTILINE)
    (tmp_path / name).write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / name], capture_output=True, text=True, check=False)
    said = "\n".join(line for line in done.stderr.splitlines() if name in line)
    assert (done.returncode, said) == (0, "")


def test_the_manifest_gives_both_containers_one_log_one_user_and_one_configuration() -> None:
    config, deployment = yaml.safe_load_all((EXAMPLE / "kubernetes/shop.yaml").read_text())
    spec = deployment["spec"]["template"]["spec"]
    (relay,), (shop,) = spec["initContainers"], spec["containers"]
    assert relay["restartPolicy"] == "Always", "it is a sidecar"
    for each in (relay, shop):
        mounts = {mount["mountPath"]: mount["name"] for mount in each["volumeMounts"]}
        assert mounts["/var/log/shop"] == "logs"
        assert mounts["/etc/shop/logboom.toml"] == "config"
        assert "runAsUser" not in each["securityContext"], "the pod's user counts"
    assert spec["securityContext"]["runAsUser"] > 0
    volumes = {volume["name"] for volume in spec["volumes"]}
    assert {mount["name"] for each in (relay, shop) for mount in each["volumeMounts"]} == volumes
    check_command(relay["command"])
    check_configuration(config["data"]["logboom.toml"], relay)


def check_command(command: list[str]) -> None:
    """The installed command knows these arguments."""
    assert command[:2] == ["logboom", "relay"]
    program = _relay.program()
    assert program is not None
    told = subprocess.run([program, "relay", "--help"], capture_output=True, text=True, check=True).stdout
    assert all(word in told for word in command[2:] if word.startswith("--"))


def check_configuration(text: str, relay: dict[str, Any]) -> None:
    for said in (text, (EXAMPLE / "logboom.toml").read_text()):
        values = loaded(said)
        assert values["relay"]["start"] == "by-hand"
        assert values["files"]["main"]["state_dir"] == "beside"
        assert values["files"]["main"]["path"].startswith("/var/log/shop/")
    metrics = loaded(text)["relay"]["metrics"]
    assert metrics.endswith(f":{relay['ports'][0]['containerPort']}")


def loaded(text: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "logboom.toml")
        path.write_text(text)
        return dict(load_config(str(path), {}, {})["values"])


def why_not_apart() -> str | None:
    if shutil.which("unshare") is None:
        return "`unshare` is not installed; it comes with util-linux"
    done = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    return f"processes of their own are not allowed here: {done.stderr.strip()}" if done.returncode else None


@contextlib.contextmanager
def container(command: list[str], folder: Path, said: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command apart from everything else but the file system. Killed with all that is in it."""
    script = 'mount -t tmpfs none /dev/shm && exec "$@"'
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOGBOOM_")}
    env |= {"LOGBOOM_CONFIG": str(folder / "logboom.toml"), "HOME": str(folder)}
    with said.open("ab") as out:
        process = subprocess.Popen(
            [*APART, "sh", "-c", script, "sh", *command], cwd=folder, env=env, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_two_containers_share_a_log_and_what_one_logs_the_other_ships(tmp_path: Path) -> None:
    if reason := why_not_apart():
        pytest.skip(reason)
    scripts = sysconfig.get_path("scripts")
    port = free_port()
    shutil.copy(EXAMPLE / "app.py", tmp_path)
    with Receiver() as receiver:
        (tmp_path / "logboom.toml").write_text(configuration(tmp_path / "log", receiver.port))
        (tmp_path / "log").mkdir(mode=0o750)
        relay = [f"{scripts}/logboom", "relay", "--config", str(tmp_path / "logboom.toml")]
        server = [sys.executable, "-m", "gunicorn", "--logger-class", "logboom.gunicorn.Logger", "--workers", "2"]
        server += ["--bind", f"127.0.0.1:{port}", "app:app"]
        with container(server, tmp_path, tmp_path / "server.out") as shop:
            wait_until(lambda: answers(port, 0), f"the shop: {(tmp_path / 'server.out').read_text()}")
            assert receiver.got == [], "nobody ships yet"
            with container(relay, tmp_path, tmp_path / "relay.out"):
                receiver.wait_for_text("order 0")
                assert answers(port, 1)
                receiver.wait_for_text("order 1")
            # The relay's container is killed; the shop goes on.
            assert answers(port, 2)
            with container(relay, tmp_path, tmp_path / "relay.out"):
                receiver.wait_for_text("order 2")
                assert shop.poll() is None
    orders = [message.text for message in receiver.messages() if message.app_name == "shop"]
    assert {f"order {number}" for number in range(3)} <= set(orders)


def configuration(log: Path, port: int) -> str:
    """That of the example, with other paths and another receiver."""
    text = (EXAMPLE / "logboom.toml").read_text().replace("/var/log/shop", str(log))
    text = re.sub(r'^to = ".*"', f'to = "tcp://127.0.0.1:{port}"', text, flags=re.MULTILINE)
    return re.sub(r"^(tls\.|metrics).*\n", "", text, flags=re.MULTILINE)


def answers(port: int, number: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/buy/{number}", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
