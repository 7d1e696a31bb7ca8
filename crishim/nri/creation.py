"""Events whose answers change containers: CreateContainer with its validation, UpdateContainer, StopContainer."""

from typing import NamedTuple

from crishim.errors import CrishimError, Kind
from crishim.nri import answer_checks, events, validator
from crishim.nri.adjusted import adjusted
from crishim.nri.adjustments import Adjustments
from crishim.nri.event_dispatch import EventDispatch, gather
from crishim.nri.plugin import Plugin
from crishim.nri.updates import Updates
from crishim.nri.validator import Validator
from crishim.pb import nri_pb2 as nri


class Changes(NamedTuple):
    """Changes to other containers than the event's."""

    updates: tuple[nri.ContainerUpdate, ...] = ()
    evictions: tuple[nri.ContainerEviction, ...] = ()


class Creation(NamedTuple):
    adjustment: nri.ContainerAdjustment  # merged; each key once, with a value or marked for removal
    changes: Changes
    owners: nri.FieldOwners  # which plugin set what


class Update(NamedTuple):
    resources: nri.LinuxResources  # to set in place of the requested ones
    changes: Changes


async def create_container(
    dispatch: EventDispatch, settings: Validator, pod: nri.PodSandbox, container: nri.Container
) -> Creation:
    """Ask all plugins, each with the changes of those before it. Raises CrishimError if one refuses, its answer is
    invalid, two set the same, or a validator rejects the result."""
    adjustments, updates, evictions = Adjustments(), Updates(creating=container.id), []
    view = container
    for plugin in dispatch.roster.subscribed(events.CREATE):
        request = nri.CreateContainerRequest(pod=pod, container=view)
        answer = await dispatch.ask(plugin, events.CREATE, request)
        if answer is None:
            continue
        answer_checks.check(plugin.label, answer.adjust)
        adjustments.collect(plugin.label, answer.adjust)
        for update in answer.update:
            updates.collect(plugin.label, update)
        evictions += answer.evict
        view = adjusted(container, adjustments.merged)
    made = Creation(adjustments.merged, Changes(updates.others(), tuple(evictions)), adjustments.owners.message())
    await _validate(dispatch, settings, pod, container, made, updates)
    return made


async def _validate(
    dispatch: EventDispatch,
    settings: Validator,
    pod: nri.PodSandbox,
    container: nri.Container,
    made: Creation,
    updates: Updates,
) -> None:
    """Raise DENIED if the default validator or a plugin rejects it; a validator without an answer rejects, too."""
    validators = dispatch.roster.subscribed(events.VALIDATE)
    if not settings.enable and not validators:
        return
    request = nri.ValidateContainerAdjustmentRequest(
        pod=pod,
        container=container,
        adjust=made.adjustment,
        update=made.changes.updates,
        plugins=[nri.PluginInstance(name=plugin.name, index=plugin.index) for plugin in dispatch.roster.all()],
    )
    for id, owners in {container.id: made.owners, **updates.owners()}.items():
        request.owners.owners[id].CopyFrom(owners)
    if why := validator.refusal(settings, request):
        raise CrishimError(
            Kind.DENIED, f"the default NRI validator rejects container {container.name}: {why}", container=container.id
        )
    await gather([_ask_validator(dispatch, plugin, request) for plugin in validators])


async def _ask_validator(
    dispatch: EventDispatch, plugin: Plugin, request: nri.ValidateContainerAdjustmentRequest
) -> None:
    answer = await dispatch.ask(plugin, events.VALIDATE, request)
    if answer is None or answer.reject:
        why = "it did not answer" if answer is None else answer.reason[:1000] or "it gave no reason"
        raise CrishimError(
            Kind.DENIED,
            f"NRI validator {plugin.label} rejects container {request.container.name}: {why}",
            plugin=plugin.label,
            container=request.container.id,
        )


async def update_container(
    dispatch: EventDispatch, pod: nri.PodSandbox, container: nri.Container, resources: nri.LinuxResources
) -> Update:
    """Ask all plugins, each with the resources as changed by those before it. Raises as create_container()."""
    updates, evictions = Updates(updating=container.id, requested=resources), list[nri.ContainerEviction]()
    for plugin in dispatch.roster.subscribed(events.UPDATE):
        request = nri.UpdateContainerRequest(pod=pod, container=container, linux_resources=updates.requested)
        answer = await dispatch.ask(plugin, events.UPDATE, request)
        if answer is None:
            continue
        for update in answer.update:
            updates.collect(plugin.label, update)
        evictions += answer.evict
    return Update(updates.requested, Changes(updates.others(), tuple(evictions)))


async def stop_container(dispatch: EventDispatch, pod: nri.PodSandbox, container: nri.Container) -> Changes:
    """Notify all plugins; returns their changes to other containers. Conflicting updates are left out. Never raises."""
    updates = Updates()
    for plugin, answer in await dispatch.notify(events.STOP, nri.StopContainerRequest(pod=pod, container=container)):
        for update in answer.update:
            update.ignore_failure = True
            if update.container_id and update.container_id != container.id:
                updates.collect(plugin.label, update)
    return Changes(updates.others())
