"""What the CRI asks for, row by row, and the tests that show it: a removed or renamed test is noticed here."""

import ast
from functools import cache
from pathlib import Path

import pytest

from crishim.pb import cri_pb2 as cri

TESTS = Path(__file__).parents[1]
NODE, PODS = "node/facts/test_facts_node.py", "node/facts/test_facts_pods.py"
CONTAINERS, SECURITY = "node/facts/test_facts_containers.py", "node/facts/test_facts_security.py"
MOUNTS, IMAGES = "node/facts/test_facts_mounts.py", "node/facts/test_facts_images.py"
STATS, EVENTS, RESOURCES = "node/test_stats.py", "node/test_events.py", "node/test_resources.py"
BAD, RECOVERY, SPEC = "node/test_bad_input.py", "node/test_recovery.py", "node/test_spec.py"
BAD_PODS, CONCURRENT = "node/test_bad_input_pods.py", "node/test_concurrent_calls.py"
LATE, RECORDS = "node/test_recovery_calls.py", "node/test_recovery_records.py"
SPEC_MOUNTS = "node/test_spec_mounts.py"
CNI, STREAM, OUTPUT = "node/test_cni.py", "unit/cri/stream", "node/facts/test_facts_output.py"

# RPC, or several that one row is about -> path::test below tests/
RPCS: dict[str, list[str]] = {
    "Version": [f"{NODE}::test_version", f"{NODE}::test_version_during_recovery"],
    "RunPodSandbox": [
        f"{PODS}::test_run_pod_that_fails",
        f"{BAD_PODS}::test_an_unknown_handler",
        f"{CNI}::test_add_goes_wrong",
        f"{CNI}::test_add_and_del_go_wrong",
        "node/test_port_mappings.py::test_a_port_is_reached_from_the_host",
    ],
    "StopPodSandbox": [
        f"{PODS}::test_a_network_that_cannot_be_torn_down",
        f"{CNI}::test_the_chain",
        f"{CNI}::test_del_goes_wrong",
        "node/test_pods.py::test_stop_and_remove_are_idempotent",
    ],
    "RemovePodSandbox": [
        f"{PODS}::test_a_network_that_cannot_be_torn_down",
        "node/test_pods.py::test_remove_pod_takes_running_containers_along",
        "node/test_pods.py::test_stop_and_remove_are_idempotent",
    ],
    "PodSandboxStatus": [
        f"{PODS}::test_pod_status_has_what_peers_leave_out",
        f"{PODS}::test_pod_status_echoes",
        f"{NODE}::test_not_found",
    ],
    "ListPodSandbox": [
        f"{PODS}::test_pod_lists_name_the_handler",
        "node/test_pods.py::test_lists_combine_their_filters",
    ],
    "CreateContainer": [
        f"{CONTAINERS}::test_the_configuration_round_trips",
        f"{CONTAINERS}::test_name_and_attempt",
        f"{CONCURRENT}::test_creates_against_a_stop",
    ],
    "StartContainer": [f"{CONTAINERS}::test_a_start_that_fails", f"{BAD}::test_containers_that_cannot_be"],
    "StopContainer": [
        f"{CONTAINERS}::test_stop_that_gets_hasty",
        f"{CONTAINERS}::test_stop_signals",
        f"{CONTAINERS}::test_the_images_stop_signal",
        f"{CONCURRENT}::test_two_stops_with_different_timeouts",
        "node/test_pods.py::test_stop_and_remove_are_idempotent",
    ],
    "RemoveContainer": [f"{CONTAINERS}::test_remove_in_every_state"],
    "ListContainers, ContainerStatus": [
        f"{CONTAINERS}::test_created_is_complete",
        f"{CONTAINERS}::test_reasons",
        f"{IMAGES}::test_one_reference",
        f"{NODE}::test_not_found",
    ],
    "ContainerStatus.mounts[].image.image_ref": [f"{MOUNTS}::test_image_volume"],
    "UpdateContainerResources": [
        f"{CONTAINERS}::test_update_before_start",
        f"{RESOURCES}::test_limits_are_in_force_when_the_call_returns",
        f"{RESOURCES}::test_an_update_that_fails_changes_nothing",
        f"{RESOURCES}::test_oom_scores_of_all_processes",
        f"{RESOURCES}::test_huge_pages",
        f"{RESOURCES}::test_memory_and_swap",
        "unit/operations/test_update_container.py::test_unified_reaches_the_runtime_and_is_undone",
    ],
    "UpdatePodSandboxResources": [f"{RESOURCES}::test_pod_resources_are_recorded_and_shown"],
    "ReopenContainerLog": [
        f"{OUTPUT}::test_log_format_and_rotation",
        f"{OUTPUT}::test_reopen_creates_nothing",
    ],
    "ExecSync": [
        f"{OUTPUT}::test_exec_sync_cap",
        f"{OUTPUT}::test_exec_sync_timeout",
        "node/test_exec.py::test_sync_timeout_kills_the_command_and_its_children",
    ],
    "Exec, Attach, PortForward": [
        f"{OUTPUT}::test_streaming_urls",
        f"{STREAM}/test_requests.py::test_an_exec_that_cannot_work",
        f"{STREAM}/test_requests.py::test_an_attach_that_cannot_work",
        f"{STREAM}/test_tokens.py::test_a_token_is_good_once",
        "node/test_dialing.py::test_host_network",
    ],
    "ContainerStats, ListContainerStats": [
        f"{STATS}::test_a_running_containers_figures",
        f"{STATS}::test_filters_and_streams",
    ],
    "PodSandboxStats, ListPodSandboxStats": [f"{STATS}::test_a_pods_figures", f"{STATS}::test_filters_and_streams"],
    "UpdateRuntimeConfig": [f"{NODE}::test_update_runtime_config"],
    "Status": [f"{NODE}::test_status"],
    "RuntimeConfig": [f"{NODE}::test_runtime_config"],
    "GetContainerEvents": [
        f"{EVENTS}::test_a_life_in_events",
        "unit/cri/test_events.py::test_an_event_carries_the_pod_and_all_its_containers",
    ],
    "ListMetricDescriptors, ListPodSandboxMetrics": [
        f"{STATS}::test_every_described_metric_has_a_sample",
        "unit/cri/test_metrics_descriptors.py::test_all_named_metrics_are_described",
        "unit/cri/test_metrics_descriptors.py::test_help_and_labels_are_there",
        "unit/cri/test_metrics_samples.py::test_label_values_match_the_keys_in_number",
    ],
    "StreamPodSandboxes, StreamContainers, StreamContainerStats, StreamPodSandboxStats, StreamPodSandboxMetrics, "
    "StreamImages": [f"{NODE}::test_streamed_lists", "node/test_images_cri.py::test_list_honours_its_filter"],
    "CheckpointContainer": [
        f"{RESOURCES}::test_a_checkpoint_or_a_clear_no",
        "unit/operations/test_checkpoint_container.py::test_the_archive_holds_processes_layer_and_configuration",
        "unit/operations/test_checkpoint_container.py::test_the_timeout_ends_it_and_the_container_runs_on",
    ],
    "CheckpointPod, RestorePod": [
        f"{RESOURCES}::test_pod_checkpoints_are_not_built",
        f"{NODE}::test_every_rpc_is_there",
    ],
    "ListImages, ImageStatus": [
        f"{IMAGES}::test_the_filter_is_honoured",
        f"{IMAGES}::test_pulled_by_digest",
        f"{IMAGES}::test_pinned",
        "node/test_images_cri.py::test_user_is_uid_or_name",
        "node/test_images_cri.py::test_absent_image",
    ],
    "PullImage": [
        f"{IMAGES}::test_one_reference",
        f"{IMAGES}::test_identical_pulls",
        f"{IMAGES}::test_a_pull_under_a_short_deadline",
        f"{IMAGES}::test_errors_the_kubelet_knows",
        "node/test_images.py::test_credentials_decide",
        "node/test_images.py::test_policy_rejects",
        "node/test_images_killed.py::test_ten_identical_pulls_are_one",
        "node/test_logs.py::test_no_secret_reaches_the_log",
    ],
    "RemoveImage": [
        f"{IMAGES}::test_removal_by_one_tag",
        "node/test_images_removed.py::test_five_parallel_removals",
    ],
    "ImageFsInfo": [f"{IMAGES}::test_image_fs_info"],
}

FIELDS: dict[str, list[str]] = {
    "env values are bytes": [
        f"{CONTAINERS}::test_the_configuration_round_trips",
        f"{SPEC}::test_environment_bytes_survive",
    ],
    "Signal names": [f"{CONTAINERS}::test_stop_signals"],
    "user namespaces": [
        f"{PODS}::test_user_namespace_modes",
        f"{PODS}::test_user_namespace_mappings",
        f"{PODS}::test_user_namespace_status",
        f"{SPEC_MOUNTS}::test_user_namespace",
        f"{SPEC_MOUNTS}::test_idmapped_volume",
    ],
    "recursive_read_only": [
        f"{MOUNTS}::test_recursive_read_only",
        f"{SPEC_MOUNTS}::test_recursive_read_only",
        f"{NODE}::test_status",
    ],
    "image volumes": [
        f"{MOUNTS}::test_image_volume",
        f"{MOUNTS}::test_image_volume_rules",
        "unit/spec/test_mounts.py::test_image_sub_path_must_be_a_directory_inside",
    ],
    "supplemental groups": [
        f"{SECURITY}::test_supplemental_groups",
        "unit/spec/test_user.py::test_supplemental_groups_merge",
        "unit/spec/test_user.py::test_supplemental_groups_strict",
    ],
    "run_as_group": [f"{SECURITY}::test_a_group_without_user"],
    "seccomp, AppArmor, SELinux": [
        f"{SECURITY}::test_seccomp_precedence",
        f"{SECURITY}::test_privileged_ignores_seccomp",
        f"{SECURITY}::test_apparmor",
        f"{SECURITY}::test_a_malformed_selinux_level",
        "unit/spec/test_apparmor.py::test_profile",
        "unit/spec/test_apparmor.py::test_an_unloaded_profile_fails",
    ],
    "PID mode": [
        f"{CONTAINERS}::test_pid_target",
        "node/test_pods.py::test_a_shared_pid_namespace_has_catatonit_as_its_init",
        "unit/spec/test_namespaces.py::test_pod_pid_mode_needs_a_live_pod_namespace",
    ],
    "host_path": [
        f"{MOUNTS}::test_a_host_path_that_does_not_exist",
        f"{MOUNTS}::test_a_host_path_that_is_made",
        f"{MOUNTS}::test_a_symlink_is_resolved",
    ],
    "hugepages, unified, swap, cpuset, oom_score_adj": [
        f"{SECURITY}::test_limits_at_create",
        f"{SECURITY}::test_unified_on_v1",
        f"{SECURITY}::test_oom_score",
        "unit/spec/test_resources.py::test_unified",
        "unit/spec/test_limits.py::test_oom_score_is_clamped_to_what_the_daemon_may_set",
    ],
    "mount_options": [f"{MOUNTS}::test_mount_options", f"{NODE}::test_status"],
}

KUBELET: dict[str, list[str]] = {
    "NotFound": [f"{NODE}::test_not_found"],
    "labels and annotations survive": [f"{RECORDS}::test_records_survive_byte_for_byte"],
    "pod IP and network mode": [
        f"{PODS}::test_pod_status_echoes",
        "node/test_pods.py::test_a_host_network_pod_skips_cni",
    ],
    "a retried RunPodSandbox": [
        f"{LATE}::test_a_retry_after_a_deadline_gets_the_same_pod",
        f"{CONCURRENT}::test_one_name_many_times",
    ],
    "List never waits": [
        f"{NODE}::test_lists_wait_for_no_pod",
        f"{NODE}::test_a_container_that_takes_its_time_delays_no_list",
        f"{STATS}::test_a_frozen_container_delays_no_list",
    ],
    "16 MiB": [f"{NODE}::test_a_large_list_fits", f"{OUTPUT}::test_exec_sync_cap"],
    "answers during recovery": [f"{NODE}::test_version_during_recovery"],
    "image collection": [f"{IMAGES}::test_pinned", f"{IMAGES}::test_image_fs_info", f"{IMAGES}::test_one_reference"],
    "log lines and rotation": [
        f"{OUTPUT}::test_log_format_and_rotation",
        "kubelet/test_streams.py::test_log_rotation_loses_no_line",
    ],
    "UNIMPLEMENTED only where it is": [f"{NODE}::test_every_rpc_is_there", f"{STATS}::test_the_kubelets_probe"],
    "wrappers are set": [
        "unit/cri/test_usage.py::test_every_wrapper_is_set_even_for_zero",
        "unit/cri/test_usage.py::test_a_pod_on_the_hosts_network_has_no_network",
        "unit/cri/test_usage.py::test_the_writable_layer_names_a_directory",
    ],
    "feature gates": [
        "kubelet/test_gates.py::test_the_gate_is_in_use",
        "kubelet/test_stats.py::test_the_summary",
    ],
    "events carry pod metadata": [
        f"{EVENTS}::test_a_life_in_events",
        f"{PODS}::test_pod_status_has_what_peers_leave_out",
    ],
    "no Stream* is UNIMPLEMENTED": [f"{NODE}::test_streamed_lists"],
    "run_as_group of the sandbox": [f"{PODS}::test_a_group_without_user_for_the_sandbox"],
    "cgroup_parent": [f"{PODS}::test_cgroup_parent"],
}

STREAMING: dict[str, list[str]] = {
    "SPDY and WebSocket": [
        f"{STREAM}/test_remote_command.py::test_bytes_go_both_ways_over_spdy",
        f"{STREAM}/test_remote_command.py::test_every_websocket_form",
        f"{STREAM}/test_forwarding.py::test_the_tunnel",
    ],
    "reference behaviour": [
        f"{STREAM}/test_server.py::test_unknown_used_and_mismatched_tokens_are_not_found",
        f"{STREAM}/test_server.py::test_spdy_versions_are_negotiated",
        f"{STREAM}/test_server.py::test_get_and_post_are_the_same",
        f"{STREAM}/test_tokens.py::test_a_token_expires",
        f"{STREAM}/test_tokens.py::test_only_so_many_wait",
        f"{STREAM}/test_remote_command.py::test_streams_that_do_not_come",
        f"{STREAM}/test_remote_command.py::test_the_empty_message_goes_to_the_lowest_channel",
        f"{STREAM}/test_difficult_clients.py::test_an_idle_connection_is_closed",
        f"{STREAM}/test_forwarding.py::test_the_old_websocket_form",
    ],
    "exit codes": [f"{STREAM}/test_remote_command.py::test_exit_codes_over_spdy"],
}

ROWS = RPCS | FIELDS | KUBELET | STREAMING


@cache
def known(path: str) -> frozenset[str]:
    """The names of the tests in a file."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    names = (n.name for n in ast.walk(ast.parse((TESTS / path).read_text())) if isinstance(n, functions))
    return frozenset(name for name in names if name.startswith("test_"))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_tests(row: str) -> None:
    """Each named test exists."""
    assert ROWS[row]
    for named in ROWS[row]:
        path, _, name = named.partition("::")  # FileNotFoundError names a file that is not there
        assert name in known(path), f"{row}: tests/{path} has no {name}"


def test_every_rpc_has_a_row() -> None:
    """The definition's RPCs and the rows are the same."""
    defined = {m.name for s in cri.DESCRIPTOR.services_by_name.values() for m in s.methods}
    assert {name for row in RPCS if "." not in row for name in row.split(", ")} == defined


def test_no_row_is_there_twice() -> None:
    """The parts of the table do not hide each other's rows."""
    assert len(ROWS) == len(RPCS) + len(FIELDS) + len(KUBELET) + len(STREAMING)
