"""Sets up, checks and tears down the networks of pods, by the CNI configuration in force."""

import asyncio
import time
from typing import Any

import msgspec

from crishim.cni import format as cni
from crishim.cni.arguments import capability_args, cni_args
from crishim.cni.chain import CheckResult, PluginChain, RuntimeConf, decode_result, unchecked
from crishim.cni.directory import ConfigDirectory
from crishim.errors import CrishimError
from crishim.linux import executors
from crishim.linux.limiter import Limiter
from crishim.model import Network, PodRecord
from crishim.pb import cri_pb2 as cri

STATUS_PATIENCE = 0.5  # seconds to wait for STATUS; the kubelet asks every five


class Check(msgspec.Struct, frozen=True):
    """The result of CHECK of a pod's network."""

    at: int  # nanoseconds since the epoch
    answers: tuple[CheckResult, ...] = ()  # in the chain's order
    skipped: str = ""  # why CHECK was not run, "" if it was

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(answer.error for answer in self.answers if answer.error)


class PodNetworks:
    """The primary network of all pods of this node."""

    def __init__(self, directory: ConfigDirectory, plugins: PluginChain, limiter: Limiter) -> None:
        self._directory = directory
        self._plugins = plugins
        self._limiter = limiter
        self._checks: dict[str, Check] = {}
        self._asking: asyncio.Task[None] | None = None
        self._status = "the pod network's plugins have not told their status yet"
        self.pod_cidr = ""  # UpdateRuntimeConfig; for plugins with the ipRanges capability

    async def plan(self, config: cri.PodSandboxConfig) -> Network:
        """The pod's network for add(), to be put into its record first. UNAVAILABLE without a configuration."""
        network = await executors.records(self._directory.current)
        await self._plugins.find_all(network.types)
        arguments = capability_args(config, self.pod_cidr)
        return Network(name=network.name, conflist=network.raw, capability_args=msgspec.json.encode(arguments))

    async def add(self, pod: PodRecord) -> Network | None:
        """Run ADD for a planned pod; None for a host-network one. After a failure call delete()."""
        if pod.network is None:
            return None
        async with self._limiter.slot():
            result = await self._plugins.add(*self._runtime_conf(pod, pod.network))
        return msgspec.structs.replace(pod.network, result=msgspec.json.encode(result), ips=cni.addresses(result))

    async def check(self, pod: PodRecord) -> Check:
        """Run CHECK; the result is kept until delete(). The caller makes sure that no DEL runs at the same time."""
        if pod.network is None:
            return Check(at=time.time_ns(), skipped="it has the host's network")
        network, conf = self._runtime_conf(pod, pod.network)
        result = decode_result(pod.network.result)
        if result is None:
            return Check(at=time.time_ns(), skipped="ADD has not succeeded")
        async with self._limiter.slot():
            answers = await self._plugins.check(network, conf, result)
        found = self._checks[pod.id] = Check(at=time.time_ns(), answers=answers, skipped=unchecked(network))
        return found

    def last_check(self, pod_id: str) -> Check | None:
        """The last result of check() since the daemon's start; None if there is none, or after delete()."""
        return self._checks.get(pod_id)

    async def delete(self, pod: PodRecord, netns: str) -> None:
        """Run DEL; may be repeated. netns: "" when the namespace is gone."""
        self._checks.pop(pod.id, None)
        if pod.network is not None:
            network, conf = self._runtime_conf(pod, pod.network)
            await self._plugins.delete(network, conf._replace(netns=netns), decode_result(pod.network.result))

    async def release(self, pod_id: str, netns: str) -> None:
        """Run DEL for a pod of which only the id is known; netns: "" when the namespace is gone.

        Addresses are leased to the id and iptables chains named by it, so the present configuration is enough. portmap
        does nothing without mappings, and its DEL does not use their ports, so one is given.
        """
        await self._plugins.wait_for_plugins(pod_id)
        network = await executors.records(self._directory.current)
        mapping = {"hostPort": 1, "containerPort": 1, "protocol": "tcp"}
        conf = RuntimeConf(pod_id, netns, args={}, capability_args={"portMappings": [mapping]})
        await self._plugins.delete(network, conf, None)

    async def wait_for_plugins(self, pod: PodRecord) -> None:
        """Wait until no plugin of an earlier daemon runs for a pod any more; see PluginChain.wait_for_plugins."""
        if pod.network is not None:
            await self._plugins.wait_for_plugins(pod.id)

    async def ready(self) -> str:
        """ "" if pods can be given a network now, else the reason in one sentence.

        If STATUS takes longer than STATUS_PATIENCE it goes on, and the last answer is returned.
        """
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        await asyncio.wait([self._asking], timeout=STATUS_PATIENCE)
        return self._status

    async def _ask(self) -> None:
        try:
            await self._plugins.status(await executors.records(self._directory.current))
        except CrishimError as error:
            self._status = error.message
        except Exception as error:
            self._status = f"the pod network's status cannot be told: {error!r}"
            raise
        else:
            self._status = ""

    def _runtime_conf(self, pod: PodRecord, network: Network) -> tuple[cni.NetworkList, RuntimeConf]:
        arguments: dict[str, Any] = msgspec.json.decode(network.capability_args)
        conf = RuntimeConf(
            container_id=pod.id,
            netns=pod.namespaces.net,
            args=cni_args(pod.id, pod.parse_config().metadata),
            capability_args=arguments,
        )
        return cni.parse_list(network.conflist, network.name), conf
