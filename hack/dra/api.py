"""The few calls of the Kubernetes API a driver makes, with the standard library: JSON, TLS, a client certificate."""

import json
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
RESOURCES = "/apis/resource.k8s.io/v1"


class Api:
    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server: str = cluster["server"]
        self._tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self._tls.load_cert_chain(user["client-certificate"], user["client-key"])

    def call(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """One request below the server's address. Raises OSError with the server's words."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=10) as answer:
                found: Object = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise OSError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')[:500]}") from None

    def claim(self, namespace: str, name: str) -> Object:
        return self.call("GET", f"{RESOURCES}/namespaces/{namespace}/resourceclaims/{name}")

    def report(self, namespace: str, name: str, devices: list[Object]) -> None:
        """Write status.devices of a claim."""
        path = f"{RESOURCES}/namespaces/{namespace}/resourceclaims/{name}/status"
        self.call("PATCH", path, {"status": {"devices": devices}}, "application/merge-patch+json")

    def publish(self, name: str, spec: Object) -> None:
        """Create a ResourceSlice, or replace its spec."""
        path = f"{RESOURCES}/resourceslices"
        body = {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice", "metadata": {"name": name}, "spec": spec}
        try:
            self.call("POST", path, body)
        except OSError as error:
            if "AlreadyExists" not in str(error):
                raise
            known = self.call("GET", f"{path}/{name}")
            self.call("PUT", f"{path}/{name}", known | {"spec": spec})

    def withdraw(self, name: str) -> None:
        self.call("DELETE", f"{RESOURCES}/resourceslices/{name}")
