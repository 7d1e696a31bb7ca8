"""crishim/nri/settings.py: what the section [nri] makes of the driver."""

from pathlib import Path

from crishim.config import parse
from crishim.nri.settings import DriverSettings, from_config
from crishim.nri.validator import Validator


def test_defaults() -> None:
    """As NRI's own, and the daemon says its version."""
    made = from_config(parse(""))
    assert made._replace(runtime_version="") == DriverSettings()
    assert made.runtime_version


def test_every_setting_arrives() -> None:
    text = """
        [nri]
        socket = "/s"
        plugin_dir = "/p"
        config_dir = "/c"
        registration_timeout = 1
        request_timeout = 3
        [nri.validator]
        enable = true
        reject_oci_hook_adjustment = true
        reject_runtime_default_seccomp_adjustment = true
        reject_unconfined_seccomp_adjustment = true
        reject_custom_seccomp_adjustment = true
        reject_namespace_adjustment = true
        reject_sysctl_adjustment = true
        required_plugins = ["a", "b"]
        tolerate_missing_plugins_annotation = "t"
    """
    made = from_config(parse(text))
    assert made[:5] == (Path("/s"), Path("/p"), Path("/c"), 1, 3)
    assert made.validator == Validator(True, True, True, True, True, True, True, ("a", "b"), "t")


def test_off() -> None:
    """Nobody connects, nothing is launched, nothing is validated; so with empty paths."""
    text = '[nri]\nenable = false\nsocket = "/s"\n[nri.validator]\nenable = true\n'
    made = from_config(parse(text))
    assert (made.socket, made.plugin_directory, made.validator.enable) == (None, None, False)
    made = from_config(parse('[nri]\nsocket = ""\nplugin_dir = ""\n'))
    assert (made.socket, made.plugin_directory) == (None, None)
