"""A control plane of one of each: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, their certificates.

All of it in the node's network namespace, so every address is private to it; keys and data lie in the node's directory
and go with it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from tests.support.daemon import eventually, test_program
from tests.support.kubelet.host import ADDRESS
from tests.support.kubelet.place import NAME

T = TypeVar("T")
API = f"https://{ADDRESS}:6443"
_ETCD = "http://127.0.0.1:2379"
# Who has a certificate besides the nodes: file name, common name (the user), organisation (the group).
# Kubernetes, "PKI certificates".
_CLIENTS = {
    "admin": ("admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "dra-driver": ("dra-driver", ""),
    "apiserver-kubelet": ("kube-apiserver-kubelet-client", "system:masters"),
}
_NAMES = f"IP:{ADDRESS},IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc,DNS:localhost"


def patiently(look: Callable[[], T], what: str, timeout: float) -> T:
    """eventually(), with a pause between two looks: each is a kubectl, a tenth of a second of CPU."""

    def then_pause() -> T:
        found = look()
        if not found:
            time.sleep(0.2)
        return found

    return eventually(then_pause, what, timeout)


class ControlPlane:
    def __init__(self, directory: Path, nodes: Sequence[str] = (NAME,), *manager: str) -> None:
        """nodes: the names of those that may join, each with a kubeconfig kubelet-NAME. manager: flags of the
        controller manager."""
        self.directory = directory
        self._manager = manager
        self._clients = _CLIENTS | {f"kubelet-{name}": (f"system:node:{name}", "system:nodes") for name in nodes}
        self.keys = directory / "pki"
        self.keys.mkdir(mode=0o700, parents=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._make_keys()

    # --- certificates -------------------------------------------------------------------------------------------------

    def _openssl(self, *arguments: str, stdin: str = "") -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.keys, input=stdin, text=True, capture_output=True)
        assert done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}"

    def _make_keys(self) -> None:
        elliptic = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl(
            "req", "-x509", *elliptic, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca", "-days", "30"
        )
        self._openssl("genrsa", "-out", "accounts.key", "2048")
        for name, (user, group) in {**self._clients, "apiserver": ("kube-apiserver", "")}.items():
            subject = (f"/O={group}" if group else "") + f"/CN={user}"
            self._openssl("req", *elliptic, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", subject)
            (self.keys / "extensions").write_text(f"subjectAltName={_NAMES}\n" if name == "apiserver" else "")
            sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
            self._openssl(*sign, "-out", f"{name}.crt", "-days", "30", "-extfile", "extensions")
            if name in self._clients:
                self._write_kubeconfig(name)

    def kubeconfig(self, name: str = "admin") -> Path:
        return self.keys / f"{name}.kubeconfig"

    def _write_kubeconfig(self, name: str) -> None:
        user = {"client-certificate": str(self.keys / f"{name}.crt"), "client-key": str(self.keys / f"{name}.key")}
        cluster = {"server": API, "certificate-authority": str(self.keys / "ca.crt")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": name}}],
            "current-context": "c",
        }
        self.kubeconfig(name).write_text(yaml.safe_dump(document))

    # --- processes ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all of it; returns when the API server is ready."""
        self._start("etcd", f"--data-dir={self.directory}/etcd", f"--listen-client-urls={_ETCD}", "--unsafe-no-fsync",
                    f"--advertise-client-urls={_ETCD}", "--listen-peer-urls=http://127.0.0.1:2380")  # fmt: skip
        pki = self.keys
        self._start(
            "kube-apiserver",
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={ADDRESS}",
            f"--cert-dir={self.directory}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-key-file={pki}/accounts.key",
            f"--service-account-signing-key-file={pki}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
        )
        patiently(self._ready, f"the API server is ready, see {self.directory}/kube-apiserver.log", 180)
        self._start(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig('controller-manager')}",
            f"--service-account-private-key-file={pki}/accounts.key",
            f"--root-ca-file={pki}/ca.crt",
            "--use-service-account-credentials",
            *self._manager,
            "--leader-elect=false",
            f"--cert-dir={self.directory}",
        )
        self._start(
            "kube-scheduler",
            f"--kubeconfig={self.kubeconfig('scheduler')}",
            f"--authentication-kubeconfig={self.kubeconfig('scheduler')}",
            f"--authorization-kubeconfig={self.kubeconfig('scheduler')}",
            "--leader-elect=false",
            f"--cert-dir={self.directory}",
        )

    def _start(self, name: str, *arguments: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [test_program(name), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=self.directory, start_new_session=True,
            )  # fmt: skip

    def _ready(self) -> bool:
        ended = [name for name, process in self.processes.items() if process.poll() is not None]
        assert not ended, f"{ended} ended: " + (self.directory / f"{ended[0]}.log").read_text()[-2000:]
        return self.kubectl("get", "--raw", "/readyz", check=False).strip() == "ok"

    def command(self, *arguments: str) -> list[str]:
        """A kubectl command line, as the administrator."""
        return [test_program("kubectl"), f"--kubeconfig={self.kubeconfig()}", *arguments]

    def kubectl(self, *arguments: str, check: bool = True, stdin: str = "") -> str:
        """kubectl's standard output, as the administrator."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, input=stdin, timeout=300, check=False
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def is_ready(self, node: str) -> bool:
        """Whether a node has joined and is Ready."""
        path = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        return self.kubectl("get", "node", node, "-o", path, check=False) == "True"

    def wait_for_accounts(self) -> None:
        """Wait until pods can be made."""
        patiently(lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"), "service accounts", 120)

    def stop(self) -> None:
        """End it, the API server's clients first."""
        for name, process in reversed(self.processes.items()):
            if process.poll() is None:
                os.kill(process.pid, signal.SIGTERM)
            try:
                process.wait(5 if name != "kube-apiserver" else 1)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
