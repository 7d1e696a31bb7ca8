"""The command line: parses the arguments and runs a command, which then imports what it needs."""

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import crishim
from crishim.cli.default_config import render_default
from crishim.config import Config, ConfigError
from crishim.config_files import DEFAULT_PATH, drop_ins, load, sources

Command = Callable[..., argparse.ArgumentParser]  # adds a command: its name, function, help text and group


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failure, 2 for wrong arguments or configuration."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except ConfigError as error:
        print(f"crishim: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="crishim", description="A CRI runtime shim.")
    parser.add_argument("--version", action="version", version=crishim.__version__)
    config_help = f"settings, default {DEFAULT_PATH}"
    parser.add_argument("--config", type=Path, metavar="FILE", help=config_help)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, help: str, parent: object = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = parent.add_parser(name, help=help, description=help)  # type: ignore[attr-defined]
        sub.set_defaults(run=run)
        sub.add_argument("--config", type=Path, metavar="FILE", help=config_help, default=argparse.SUPPRESS)
        return sub

    command("serve", _serve, "run the daemon")
    command("doctor", _doctor, "check this host and print a fix for what is missing")
    clean = command("cleanup", _cleanup, "say what is left of pods nobody has a record of; take it away with --apply")
    clean.add_argument("--apply", action="store_true", help="do it; no daemon may be running")
    clean.add_argument("--unknown", action="store_true", help="also what has a record that this version cannot read")
    clean.add_argument("--all", action="store_true", help="everything of crishim on this node: to uninstall it")
    _watching_commands(command)
    _trace_command(command)
    config = parser_group(commands, "config", "settings")
    command("default", _config_default, "print the default settings with comments", config)
    command("show", _config_show, "print the settings that the files amount to, and where each comes from", config)
    command("check", _config_check, "read the settings and say whether they can be used", config)
    images = parser_group(commands, "images", "the image store")
    load_images = command("import", _images_import, "have the daemon load images from an archive (OCI, docker)", images)
    load_images.add_argument("file", type=Path, metavar="FILE")
    load_images.add_argument("--name", help="name to give the image, if the archive holds none")
    load_images.add_argument("--offline", action="store_true", help="into the store of the settings; no daemon may run")
    images_listed = command("list", _images_list, "list what is in the store", images)
    images_listed.add_argument(
        "--pulling", action="store_true", help="the pulls under way (the daemon must be running)"
    )
    images_listed.add_argument("--json", action="store_true", help="print JSON")
    _netdev_commands(command, parser_group(commands, "netdev", "network devices of pods (the daemon must be running)"))
    nri = parser_group(commands, "nri", "NRI plugins (the daemon must be running)")
    plugins = command("list", _nri_list, "list them, in the order they are called, and those gone of late", nri)
    plugins.add_argument("--json", action="store_true", help="print JSON")
    pod = parser_group(commands, "pod", "pods (the daemon must be running)")
    check = command("check", _pod_check, "have CNI plugins check networks; status 1 if one finds something wrong", pod)
    check.add_argument("pod", metavar="POD", nargs="?", default="", help="only this pod sandbox")
    check.add_argument("--json", action="store_true", help="print JSON")
    completion = command("completion", _completion, "print what makes a shell complete crishim's commands")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    command("man", _man, "print the man page, crishim(8)")
    return parser


def _watching_commands(command: Command) -> None:
    info = command("info", _info, "the running daemon: whether it is ready, and what it has")
    info.add_argument("--json", action="store_true", help="print JSON")
    events = command("events", _events, "print what happens to pods and containers, until Ctrl-C")
    events.add_argument("--json", action="store_true", help="print JSON, one object a line")
    top = command("top", _top, "what pods and containers use, the busiest first, until Ctrl-C")
    top.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="between looks, default 2")
    top.add_argument("--once", action="store_true", help="print it once; so too if the output is no terminal")
    top.add_argument("--json", action="store_true", help="print JSON, once")
    page = command("page", _page, "serve a page that shows the node, live, to a browser on it, until Ctrl-C")
    listen_help = "loopback address to serve at, default 127.0.0.1:0, which takes a free port"
    page.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:0", help=listen_help)
    page.add_argument("--unix", type=Path, metavar="PATH", help="serve at a Unix socket of this path instead")


def _trace_command(command: Command) -> None:
    trace = command("trace", _trace, "where the time of a pod's start went; without POD, the starts that are kept")
    trace.add_argument(
        "pod", metavar="POD", nargs="?", default="", help="the beginning of its id, NAME or NAMESPACE/NAME"
    )
    trace.add_argument("--svg", action="store_true", help="draw it, as SVG")
    trace.add_argument("--json", action="store_true", help="print JSON")


def _netdev_commands(command: Command, netdev: object) -> None:
    listed = command("list", _netdev("list"), "list them", netdev)
    listed.add_argument("--pod", default="", help="only of this pod sandbox")
    listed.add_argument("--host", action="store_true", help="the host's links: which may be given, to whom, or why not")
    listed.add_argument("--details", action="store_true", help="with --host: VLAN, VXLAN, bond, SR-IOV, devlink")
    listed.add_argument("--json", action="store_true", help="print JSON")
    show = command("show", _netdev("show"), "everything known of one", netdev)
    show.add_argument("device", metavar="NAME")
    attach = command("attach", _netdev("attach"), "give a host device to a running pod", netdev)
    attach.add_argument("pod", metavar="POD")
    attach.add_argument("device", metavar="DEVICE")
    attach.add_argument("--name", default="", help="name in the pod")
    detach = command("detach", _netdev("detach"), "bring a device of a running pod back", netdev)
    detach.add_argument("pod", metavar="POD")
    detach.add_argument("device", metavar="DEVICE")


def parser_group(commands: object, name: str, help: str) -> object:
    """A command with subcommands only."""
    group = commands.add_parser(name, help=help)  # type: ignore[attr-defined]
    return group.add_subparsers(required=True, metavar="COMMAND")


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number <= 86400:
        raise argparse.ArgumentTypeError(f"not a number of seconds: {text}")
    return number


def _serve(arguments: argparse.Namespace) -> int:
    gc.disable()  # saves an eighth of the import time, and imports leave no garbage; cli/serve.py enables it again
    from crishim.cli.serve import serve

    return serve(lambda: load(arguments.config))


def _doctor(arguments: argparse.Namespace) -> int:
    from crishim.cli.doctor import print_report

    return print_report(load(arguments.config))


def _completion(arguments: argparse.Namespace) -> int:
    from crishim.cli.completion import script

    sys.stdout.write(script(_parser(), arguments.shell))
    return 0


def _man(_: argparse.Namespace) -> int:
    from crishim.cli.man_page import render

    sys.stdout.write(render(_parser()))
    return 0


def _cleanup(arguments: argparse.Namespace) -> int:
    from crishim.cli.cleanup import Options, clean_up

    return clean_up(load(arguments.config), Options(arguments.apply, arguments.unknown, arguments.all))


def _info(arguments: argparse.Namespace) -> int:
    from crishim.cli.info import show

    return show(load(arguments.config), as_json=arguments.json)


def _events(arguments: argparse.Namespace) -> int:
    from crishim.cli.events import follow

    return follow(load(arguments.config), as_json=arguments.json)


def _top(arguments: argparse.Namespace) -> int:
    from crishim.cli.top import show

    return show(load(arguments.config), interval=arguments.interval, once=arguments.once, as_json=arguments.json)


def _page(arguments: argparse.Namespace) -> int:
    from crishim.cli.page.command import serve

    return serve(load(arguments.config), arguments.listen, arguments.unix)


def _trace(arguments: argparse.Namespace) -> int:
    from crishim.cli.trace import show

    return show(load(arguments.config), arguments.pod, as_svg=arguments.svg, as_json=arguments.json)


def _config_default(_: argparse.Namespace) -> int:
    sys.stdout.write(render_default())
    return 0


def _config_check(arguments: argparse.Namespace) -> int:
    from crishim.config_paths import check_nri, check_paths, check_sysctls

    path: Path = arguments.config or DEFAULT_PATH
    config: Config = load(arguments.config)
    for check in (check_paths, check_nri, check_sysctls):
        check(config)
    more = [str(each) for each in drop_ins(path)]
    if path.exists() or more:
        files = [str(path)] * path.exists() + more
        sys.stdout.write(f"{', '.join(files)} {'are' if len(files) > 1 else 'is'} good\n")
    else:
        sys.stdout.write(f"there is no {path}, and the defaults are good\n")
    return 0


def _config_show(arguments: argparse.Namespace) -> int:
    from crishim.cli.show_config import render

    sys.stdout.write(render(sources(arguments.config)))
    return 0


def _images_import(arguments: argparse.Namespace) -> int:
    from crishim.cli.images import import_images

    return import_images(load(arguments.config), arguments.file, arguments.name, offline=arguments.offline)


def _images_list(arguments: argparse.Namespace) -> int:
    from crishim.cli.images import list_images, list_pulls

    listed = list_pulls if arguments.pulling else list_images
    return listed(load(arguments.config), as_json=arguments.json)


def _nri_list(arguments: argparse.Namespace) -> int:
    from crishim.cli.nri import list_plugins

    return list_plugins(load(arguments.config), as_json=arguments.json)


def _pod_check(arguments: argparse.Namespace) -> int:
    from crishim.cli.pod import check

    return check(load(arguments.config), arguments.pod, as_json=arguments.json)


def _netdev(action: str) -> object:
    def run(arguments: argparse.Namespace) -> int:
        from crishim.cli.netdev import netdev

        return netdev(load(arguments.config), action, arguments)

    return run


if __name__ == "__main__":
    sys.exit(main())
