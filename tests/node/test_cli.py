"""The command line, as people and service managers use it."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from crishim.config import Config, parse
from tests.support.daemon import IMAGE, Daemon, eventually, scratch_daemon
from tests.support.pods import execute, remove_pod, run_pod, start
from tests.support.settings_toml import to_toml

pytestmark = pytest.mark.node
ROOT = str(Path(__file__).parents[2])


def crishim(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "crishim", *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
        env=os.environ | {"PYTHONPATH": ROOT} | environment,
        cwd="/dev/shm",
    )


def test_default_settings_parse_back(tmp_path: Path) -> None:
    """`config default` prints every setting with a comment, and what it prints are the defaults."""
    done = crishim("config", "default")
    assert (done.returncode, done.stderr) == (0, "")
    assert parse(done.stdout) == Config()
    lines = done.stdout.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\w+ = ", line):
            assert lines[number - 1].startswith("#"), line


BAD_SETTINGS = {
    "not TOML": ("socket = ", "not TOML"),
    "unknown key": ("sockte = '/x'", "sockte: unknown key"),
    "unknown key below": ("[network]\nconf_dir = '/x'", "network.conf_dir: unknown key"),
    "unknown section": ("[netwrok]\ntimeout = 1", "netwrok: unknown key"),
    "unknown key of a handler": (
        "[runtimes.handlers.crun]\npath = 'crun'\nspeed = 1",
        "runtimes.handlers[...].speed: unknown key",
    ),
    "wrong type": ("drain_timeout = 'long'", "drain_timeout: "),
    "wrong type below": ("[stream]\nport = '80'", "stream.port: "),
    "out of range": ("[stream]\nport = 70000", "stream.port: "),
    "not positive": ("[network]\ntimeout = 0", "network.timeout: "),
    "no choice": ("[log]\nlevel = 'loud'", "log.level: "),
    "default without handler": ("[runtimes]\ndefault = 'kata'", "runtimes.default: no handler is called 'kata'"),
    "handler without path": ("[runtimes.handlers.x]\nnetdevices = 'auto'", "runtimes.handlers[...]: "),
    "cgroup": ("[pods]\ncgroup_parent = '../x'", "pods.cgroup_parent: "),
    "half of TLS": ("[stream]\ntls_cert = '/x'", "stream.tls_cert"),
    "state_dir relative": ("state_dir = 'state'", "state_dir: state is not an absolute path"),
    "state_dir is a file": ("state_dir = 'BASE/file'", "state_dir: BASE/file "),
    "run_dir below a file": ("run_dir = 'BASE/file/x'", "run_dir: BASE/file/x "),
    "state_dir unfit for images": ("state_dir = 'BASE/a b'", "state_dir: "),
    "images.root unfit": ("[images]\nroot = 'BASE/a,b'", "images.root: "),
    "images.root relative": ("[images]\nroot = 'crishim-cli-images'", "images.root: "),
    "socket too long": (f"socket = '/run/{'x' * 120}'", "socket: "),
    "socket is a file": ("socket = 'BASE/file'", "socket: BASE/file "),
    "socket below a file": ("socket = 'BASE/file/x'", "socket: BASE/file cannot be made"),
    "no program": ("[runtimes]\nconmon = '/no/conmon'", "runtimes.conmon: there is no program /no/conmon"),
    "no default runtime": (
        "[runtimes.handlers.crun]\npath = '/no/crun'",
        "runtimes.handlers.crun.path: there is no program /no/crun",
    ),
    "no policy": ("[images]\npolicy = '/no/policy.json'", "images.policy: /no/policy.json "),
    "no key": ("[stream]\ntls_cert = '/no/c'\ntls_key = '/no/k'", "stream.tls_cert: /no/c "),
    "stream address": ("[stream]\naddress = '192.0.2.1'", "stream.address, stream.port: cannot listen "),
    "stream address is none": ("[stream]\naddress = 'no address'", "stream.address: 'no address' "),
    "stream port taken": ("[stream]\nport = TAKEN", "stream.address, stream.port: cannot listen "),
    "TLS files hold something else": ("[stream]\ntls_cert = 'BASE/file'\ntls_key = 'BASE/file'", "stream.tls_cert"),
    "metrics address": ("[metrics]\naddress = 'nonsense'", "metrics.address: "),
    "metrics port taken": ("[metrics]\naddress = '127.0.0.1:TAKEN'", "metrics.address: "),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_cannot_be_used(tmp_path: Path, case: str) -> None:
    """`serve` ends with 2 and one line that names the file or the key; nothing is served or deleted."""
    text, expected = BAD_SETTINGS[case]
    base = tmp_path / "node"
    base.mkdir()
    (base / "file").write_text("precious")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        text = text.replace("BASE", str(base)).replace("TAKEN", str(taken.getsockname()[1]))
        for key in ("state_dir", "run_dir", "socket"):
            if key not in text:
                text = f"{key} = '{base}/{key}'\n{text}"
        file = tmp_path / "config.toml"
        file.write_text(text)
        done = crishim("serve", "--config", str(file))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("crishim: ")
    assert expected.replace("BASE", str(base)) in lines[0], lines[0]
    assert (base / "file").read_text() == "precious"


def test_a_socket_of_another_program(tmp_path: Path) -> None:
    """A socket somebody listens at is not taken away; one that was left over is replaced."""
    path = tmp_path / "sock"
    settings = f'state_dir = "{tmp_path}/state"\nrun_dir = "{tmp_path}/run"\nsocket = "{path}"\n'
    file = tmp_path / "config.toml"
    file.write_text(settings)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        done = crishim("serve", "--config", str(file))
        assert (done.returncode, done.stderr) == (2, f"crishim: socket: another program listens at {path}\n")
        assert path.is_socket()


def test_config_check(daemon: Daemon, tmp_path: Path) -> None:
    """`config check` says that good settings are good, names a bad key, and a file that is not there."""
    good = daemon.command("config", "check")
    assert (good.returncode, good.stdout, good.stderr) == (0, f"{daemon.config} is good\n", "")
    assert crishim("--config", str(daemon.config), "config", "check").stdout == good.stdout, "before the command, too"
    fresh = tmp_path / "fresh.toml"
    fresh.write_text(f'state_dir = "{tmp_path}/a/state"\nrun_dir = "{tmp_path}/b"\nsocket = "{tmp_path}/c/sock"\n')
    assert crishim("config", "check", "--config", str(fresh)).returncode == 0
    assert [p.name for p in tmp_path.iterdir()] == ["fresh.toml"], "a check makes nothing"
    missing = crishim("config", "check", "--config", str(tmp_path / "none.toml"))
    assert missing.returncode == 2
    assert missing.stderr == f"crishim: cannot read {tmp_path}/none.toml: No such file or directory\n"
    bad = tmp_path / "bad.toml"
    bad.write_text("colour = 1")
    done = crishim("config", "check", "--config", str(bad))
    assert (done.returncode, done.stderr) == (2, f"crishim: {bad}: colour: unknown key\n")
    assert crishim("confg").returncode == 2
    assert crishim("--version").stdout.strip()


def rows(text: str) -> dict[str, tuple[str, str, str]]:
    """The doctor's table: status, what was found, and the fix, by subject."""
    found: dict[str, tuple[str, str, str]] = {}
    subject = ""
    for line in text.splitlines():
        if line[:4].strip():
            status = line[:4].strip()
            subject, _, what = line[6:].partition("  ")
            found[subject.strip()] = (status, what.strip(), "")
        else:
            status, what, _ = found[subject.strip()]
            found[subject.strip()] = (status, what, line.partition("fix: ")[2])
    return found


def test_doctor_on_this_host(daemon: Daemon) -> None:
    """Every subject has a row; with a network configured nothing fails here, and the exit status says so."""
    done = daemon.command("doctor")
    table = rows(done.stdout)
    assert {"capabilities", "cgroups", "overlay", "conmon", "skopeo", "catatonit", "CNI"} <= table.keys()
    assert {"runtime crun (default)", "runtime runc"} <= table.keys()
    assert "moves network devices itself" in table["runtime runc"][1]
    assert table["CNI"][1] == "network test: bridge, portmap"
    assert table["iptables"][0] == "ok"
    failed = {subject: row for subject, row in table.items() if row[0] == "FAIL"}
    assert failed == {}
    assert done.returncode == 0


def test_doctor_with_broken_settings(daemon: Daemon, tmp_path: Path) -> None:
    """What is missing fails or warns with a fix that names it, and the exit status is 1."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho segmentation fault >&2; exit 139\n")
    broken.chmod(0o755)
    settings = {
        "runtimes": {
            "conmon": "/no/conmon",
            "handlers": {"crun": {"path": str(broken)}, "kata": {"path": "/no/kata"}},
        },
        "images": {"skopeo": "no-skopeo"},
        "pods": {"init": "no-catatonit"},
        "network": {"config_dir": str(tmp_path)},
    }
    file = tmp_path / "config.toml"
    file.write_text(to_toml(settings))
    done = crishim("doctor", "--config", str(file))
    assert done.returncode == 1
    table = rows(done.stdout)
    for subject, fix in (("conmon", "conmon"), ("no-skopeo", "skopeo"), ("no-catatonit", "catatonit")):
        assert table[subject][0] == "FAIL"
        assert fix in table[subject][2]
    assert table["runtime crun (default)"][0] == "FAIL"
    assert "segmentation fault" in table["runtime crun (default)"][1]
    assert table["runtime kata"][0] == "warn"
    assert "runtimes.handlers.kata" in table["runtime kata"][2]
    assert table["CNI"][0] == "FAIL"
    assert str(tmp_path) in table["CNI"][2]
    assert all(fix for status, _, fix in table.values() if status != "ok")


@pytest.fixture
def docker_archive(busybox_archive: Path, tmp_path: Path) -> Path:
    """The busybox image as docker writes archives, under another name."""
    path = tmp_path / "docker.tar"
    target = f"docker-archive:{path}:localhost/test/docker:7"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"oci-archive:{busybox_archive}", target], check=True)
    return path


def test_import_with_the_daemon(daemon: Daemon, busybox_archive: Path, docker_archive: Path) -> None:
    """`images import` of both kinds of archive, by a relative path too; what it prints is what the daemon lists."""
    done = daemon.command("images", "import", os.path.relpath(docker_archive))
    assert done.returncode == 0, done.stderr
    id, *names = done.stdout.split()
    assert "localhost/test/docker:7" in names
    assert daemon.call("ImageStatus", image={"image": "localhost/test/docker:7"}).image.id == id
    done = daemon.command("images", "import", str(busybox_archive))
    assert IMAGE in done.stdout.split()
    daemon.call("RemoveImage", image={"image": "localhost/test/docker:7"})
    assert daemon.command("images", "import", str(busybox_archive)).returncode == 0


def test_import_without_the_daemon(busybox_archive: Path, docker_archive: Path) -> None:
    """The same without a daemon, which finds the images when it starts; a running one is not bypassed."""
    with scratch_daemon() as daemon:
        daemon.stop()
        for archive, name in ((busybox_archive, IMAGE), (docker_archive, "localhost/test/docker:7")):
            done = daemon.command("images", "import", str(archive))
            assert (done.returncode, done.stdout) == (1, "")
            assert f"no daemon answers at {daemon.socket}" in done.stderr
            done = daemon.command("images", "import", "--offline", str(archive))
            assert done.returncode == 0, done.stderr
            assert name in done.stdout.split()
            assert done.stderr == f"crishim: imported into {daemon.state}/images\n"
        daemon.start()
        assert "leave out --offline" in daemon.command("images", "import", "--offline", str(busybox_archive)).stderr
        tags = {t for i in daemon.call("ListImages").images for t in i.repo_tags}
        assert tags == {IMAGE, "localhost/test/docker:7"}
        pod = run_pod(daemon)
        assert execute(daemon, start(daemon, pod), "echo", "hi") == (0, "hi\n")
        remove_pod(daemon, pod)


@pytest.mark.parametrize("running", [True, False])
def test_import_what_is_no_archive(daemon: Daemon, tmp_path: Path, running: bool) -> None:
    """One line names the file, the exit status is 1, with and without a daemon."""
    text = tmp_path / "notes.txt"
    text.write_text("not an archive")
    if not running:
        daemon.stop()
    try:
        for path in (text, tmp_path / "missing.tar"):
            done = daemon.command("images", "import", *([] if running else ["--offline"]), str(path))
            assert done.returncode == 1
            assert len(done.stderr.splitlines()) == 1, done.stderr
            assert f"image archive {path}" in done.stderr or f"{path} is no image archive" in done.stderr
    finally:
        if not running:
            daemon.start()


def test_sd_notify(tmp_path: Path) -> None:
    """READY=1 when the daemon serves, STOPPING=1 when it drains."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        os.environ["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        try:
            with scratch_daemon() as daemon:
                assert manager.recv(100) == b"READY=1"
                daemon.stop()
                assert manager.recv(100) == b"STOPPING=1"
        finally:
            del os.environ["NOTIFY_SOCKET"]


def test_sigterm_during_the_start(tmp_path: Path) -> None:
    """A daemon told to end before it serves ends with 0."""
    with scratch_daemon() as daemon:
        daemon.stop()
        command = [sys.executable, "-m", "crishim", "serve", "--config", str(daemon.config)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(daemon.socket.exists, "the socket is there")
        process.terminate()
        assert process.wait(20) == 0
