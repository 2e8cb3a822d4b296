# SPDX-License-Identifier: Apache-2.0
"""The command `p4softswitch`: simple_switch_grpc's command line in front of the embedded switch."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

from . import portcommand
from .arguments import Parser
from .engine_api import Engine, EngineError
from .logfile import LogFile
from .server import EngineFactory, Limits, P4Error, PortSpec, Switch, SwitchOptions, TlsFiles, parse_port
from .server.claims import Holder, Taken, holder_of_interface
from .server.host_stack import HostStack, release
from .server.ports import MAX_PORT
from .signals import Stop, stop_on_signals

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}

_IGNORED = ("thrift-port", "notifications-addr", "nanolog", "log-file-max-size", "log-file-max-files", "max-port-count")
"""Options of BMv2 about things that the embedded switch does not have; said once, then forgotten."""

_REFUSED = ("use-files", "packet-in", "restore-state", "debugger-addr", "dump-packet-data")
"""Options of BMv2 that a user would miss, or that print what must not be printed."""


def _port(text: str) -> PortSpec:
    try:
        return parse_port(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _number(low: int, high: int) -> type:
    def convert(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {low} to {high}")
        return int(text)

    return convert  # type: ignore[return-value]  # argparse takes any callable


def _general_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="p4softswitch",
        description="Software switch for P4_16 programs compiled for BMv2, with simple_switch_grpc's interfaces.",
        usage="p4softswitch [options] <program.json> [-- target options]\n       p4softswitch ports --help",
        epilog="Target options, after --:\n\n" + _target_parser().format_help().partition("options:\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--version", action="version", version=version("nvo3sec"))
    add("program", nargs="?", type=Path, help="BMv2 JSON to run from the start")
    add("-i", "--interface", action="append", default=[], type=_port, metavar="PORT@IFACE",
        help="attach a network interface, or a UNIX datagram socket with PORT@unix:LOCAL,PEER")  # fmt: skip
    add("--shared", action="append", default=[], metavar="IFACE",
        help="an interface of -i that this host's network stack goes on to use; others are the switch's")  # fmt: skip
    add("--take", nargs="+", metavar="IFACE", help="keep this host's network stack away from interfaces, and end")
    add("--release", nargs="+", metavar="IFACE", help="give interfaces that were taken back to this host, and end")
    add("--wait-for-interfaces", action="store_true",
        help="start also if an interface is not there yet; its port works once it is")  # fmt: skip
    add("--device-id", type=_number(0, 2**64 - 1), default=0, help="device id in P4Runtime (default 0)")
    add("--no-p4", action="store_true", help="start without a program")
    add(
        "--pcap", nargs="?", const=".", metavar="DIR", help="write a capture file for every port (default directory: .)"
    )
    add("--log-console", action="store_true", help="log to standard output")
    add("--log-file", type=Path, help="log to a file; SIGHUP opens it anew")
    add("-L", "--log-level", choices=sorted(_LEVELS), default="warn")
    add("--log-flush", action="store_true", help=argparse.SUPPRESS)
    add("--debugger", action="store_true", help=argparse.SUPPRESS)
    for name in (*_IGNORED, *_REFUSED):
        add(f"--{name}", help=argparse.SUPPRESS)
    add("--ready-fd", type=_number(0, 2**31 - 1), metavar="FD", help="write a line to this descriptor when serving")
    add("--cache-dir", type=Path, help="where compiled programs are kept: a directory of this user's alone")
    add("--program-dir", type=Path, metavar="DIR",
        help="run compiled programs from there only (see --compile), and need no compiler")  # fmt: skip
    add("--compile", action="store_true", help="compile the program for other hosts, and end")
    add("--output", type=Path, metavar="DIR", help="where --compile puts it")
    return parser


def _target_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="p4softswitch ... --", add_help=False)
    add = parser.add_argument
    add("--grpc-server-addr", default="127.0.0.1:9559", help="host:port, or unix:PATH")
    add("--grpc-server-ssl", action="store_true")
    for name in ("cacert", "cert", "key"):
        add(f"--grpc-server-{name}", type=Path)
    add("--grpc-server-with-client-auth", action="store_true")
    add("--cpu-port", type=_number(1, MAX_PORT))
    add("--drop-port", type=_number(0, MAX_PORT), default=MAX_PORT)
    add("--dp-grpc-server-addr", help="host:port, or unix:PATH: carry data packets over gRPC")
    add("--priority-queues", type=_number(1, 1), default=1)
    add("--max-mc-groups", type=_number(1, 2**31 - 1), default=Limits.groups)
    add("--max-l1-entries", type=_number(1, 2**31 - 1), default=Limits.l1_entries)
    add("--max-l2-entries", type=_number(1, 2**31 - 1), default=Limits.l2_entries)
    add("--disable-swap", action="store_true")
    return parser


def _split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options before and after `--`. `--pcap` takes the next word unless that is an option, a file or named as JSON: it
    may be the program, and a directory that is not there is to be named."""
    general, target = list(argv), []
    if "--" in general:
        at = general.index("--")
        general, target = general[:at], general[at + 1 :]
    for at, word in enumerate(general):
        if word == "--pcap":
            following = Path(general[at + 1]) if at + 1 < len(general) and general[at + 1][:1] != "-" else None
            if following is not None and following.suffix != ".json" and not following.is_file():
                general[at : at + 2] = [f"--pcap={general[at + 1]}"]
            else:
                general[at] = "--pcap=."
            break
    return general, target


@contextmanager
def _logging(args: argparse.Namespace) -> Iterator[LogFile | None]:
    """Where the log goes meanwhile; the file, if it is one. Raises OSError."""
    file = None if args.log_file is None else LogFile(args.log_file)
    handler = file or logging.StreamHandler(sys.stdout if args.log_console else sys.stderr)
    handler.setFormatter(logging.Formatter("[%(asctime)s] [%(levelname)s] %(name)s: %(message)s"))
    logger = logging.getLogger("p4softswitch")
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[args.log_level])
    logger.propagate = False
    # grpc logs the requests that a handler fails on; entries carry keys.
    logging.getLogger("grpc").setLevel(logging.CRITICAL + 1)
    try:
        yield file
    finally:
        logger.removeHandler(handler)
        handler.close()


def _tls(parser: argparse.ArgumentParser, target: argparse.Namespace) -> TlsFiles | None:
    if not target.grpc_server_ssl:
        if target.grpc_server_cacert or target.grpc_server_cert or target.grpc_server_key:
            parser.error("certificates are given, but --grpc-server-ssl is not")
        return None
    if target.grpc_server_cert is None or target.grpc_server_key is None:
        parser.error("--grpc-server-ssl needs --grpc-server-cert and --grpc-server-key")
    if target.grpc_server_with_client_auth and target.grpc_server_cacert is None:
        parser.error("--grpc-server-with-client-auth needs --grpc-server-cacert")
    return TlsFiles(
        certificate=target.grpc_server_cert,
        key=target.grpc_server_key,
        client_ca=target.grpc_server_cacert,
        client_auth=target.grpc_server_with_client_auth,
    )


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace, target: argparse.Namespace) -> None:
    for name in _REFUSED:
        if getattr(args, name.replace("-", "_")) not in (None, "0"):
            parser.error(f"--{name} is not supported")
    if args.debugger:
        parser.error("--debugger is not supported")
    if unknown := sorted(set(args.shared) - {spec.interface for spec in args.interface}):
        parser.error(f"--shared {unknown[0]}: there is no port of that interface")
    if args.compile and (args.program is None or args.output is None or args.no_p4):
        parser.error("--compile needs a BMv2 JSON file, and --output with a directory")
    if args.output is not None and not args.compile:
        parser.error("--output is for --compile only")
    if args.cache_dir is not None and args.program_dir is not None:
        parser.error("--cache-dir and --program-dir: with compiled programs nothing is compiled, and nothing kept")
    if args.program is None and not args.no_p4:
        parser.error("please specify a BMv2 JSON file, or --no-p4")
    numbers = [spec.port for spec in args.interface]
    if len(set(numbers)) != len(numbers):
        parser.error("a port is used twice")
    if target.drop_port in numbers:
        parser.error(f"port {target.drop_port} is the drop port, which has no interface; --drop-port makes it another")
    if target.cpu_port is not None and target.cpu_port in (*numbers, target.drop_port):
        parser.error(f"the CPU port {target.cpu_port} is used as a data port or as the drop port")
    if args.pcap is not None and not Path(args.pcap).is_dir():
        parser.error(f"the capture directory {args.pcap} does not exist")
    for spec in args.interface:
        if spec.interface is not None and target.dp_grpc_server_addr is None and not args.wait_for_interfaces:
            try:
                socket.if_nametoindex(spec.interface)
            except OSError:
                parser.error(f"there is no interface {spec.interface}; --wait-for-interfaces waits for it")


def _factory(args: argparse.Namespace, target: argparse.Namespace, stop: Stop) -> EngineFactory:
    # Late, so that --help and a wrong command line need no compiler.
    from p4softswitch.engine.command import Interrupt
    from p4softswitch.engine.engine import EngineConfig, load

    interrupt = Interrupt()
    stop.also(interrupt.set)
    config = EngineConfig(
        cpu_port=target.cpu_port,
        drop_port=target.drop_port,
        cache=args.cache_dir,
        programs=args.program_dir,
        clock_start_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        interrupt=interrupt,
    )

    def load_engine(program: bytes) -> Engine:
        return load(program, config=config)

    return load_engine


def _compile(args: argparse.Namespace, stop: Stop) -> None:
    from p4softswitch.engine.command import Interrupt
    from p4softswitch.engine.engine import compile_for_others

    interrupt = Interrupt()
    stop.also(interrupt.set)
    print(compile_for_others(args.program.read_bytes(), args.output, interrupt=interrupt))


def _options(args: argparse.Namespace, target: argparse.Namespace, tls: TlsFiles | None) -> SwitchOptions:
    return SwitchOptions(
        grpc_address=target.grpc_server_addr,
        dataplane_address=target.dp_grpc_server_addr,
        device_id=args.device_id,
        cpu_port=target.cpu_port,
        drop_port=target.drop_port,
        ports=tuple(args.interface),
        shared=tuple(args.shared),
        pcap_dir=args.pcap,
        limits=Limits(target.max_mc_groups, target.max_l1_entries, target.max_l2_entries),
        swap=not target.disable_swap,
        tls=tls,
    )


def _announce(address: str, ready_fd: int | None) -> None:
    print(f"Server listening on {address}", flush=True)
    if ready_fd is not None:
        with closing(os.fdopen(ready_fd, "w")) as ready:
            ready.write("ready\n")


@contextmanager
def _short_turns() -> Iterator[None]:
    """Threads of Python let others run after 0.5 ms: a small Write that comes while a long Read is answered needs its
    turn several times, and would wait 5 ms for each."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _serve(args: argparse.Namespace, target: argparse.Namespace, tls: TlsFiles | None, stop: Stop) -> None:
    """Until SIGINT or SIGTERM."""
    program = args.program.read_bytes() if args.program is not None and not args.no_p4 else None
    with _short_turns(), Switch(_factory(args, target, stop), _options(args, target, tls)) as switch:
        switch.start(program)
        _announce(target.grpc_server_addr, args.ready_fd)
        stop.wait()


def _switch_of(interface: str) -> Holder | None:
    """Who has it as a port; None if nobody has. A stranger who has its name is said, and in nobody's way."""
    holder = holder_of_interface(interface)
    if holder is None or not holder.is_stranger:
        return holder
    print(f"p4softswitch: {interface}: {holder} has the name that says which switch uses it", file=sys.stderr)
    return None


def _take(interfaces: Sequence[str]) -> int:
    """Before their switch is there: exit status 0 if all are closed to this host by this."""
    status = 0
    with closing(HostStack()) as host:
        for interface in interfaces:
            try:
                if (holder := _switch_of(interface)) is not None:
                    raise Taken(f"the interface {interface}", holder.pid)
                host.take(interface)
                print(f"{interface}: closed to this host")
            except OSError as error:
                print(f"p4softswitch: {error}", file=sys.stderr)
                status = 1
    return status


def _release(interfaces: Sequence[str]) -> int:
    """Exit status 0 if all were a switch's, and are not any more."""
    status = 0
    for interface in interfaces:
        try:
            if (holder := _switch_of(interface)) is not None:
                fault = f"{holder} has it as a port, and would close it again: remove that, or stop the process"
            elif release(interface):
                print(f"{interface}: this host uses it again")
                continue
            else:
                fault = "no switch has taken it"
        except OSError as error:
            fault = error.strerror or str(error)
        print(f"p4softswitch: {interface}: {fault}", file=sys.stderr)
        status = 1
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run the switch until it is told to stop. Exit status 0, or 1 with one line on standard error."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["ports"]:
        return portcommand.main(words[1:])
    parser = _general_parser()
    general, rest = _split(words)
    args, target = parser.parse_args(general), _target_parser().parse_args(rest)
    if args.take:
        return _take(args.take)
    if args.release:
        return _release(args.release)
    _check(parser, args, target)
    tls = _tls(parser, target)
    try:
        with _logging(args) as file:
            for name in _IGNORED:
                if getattr(args, name.replace("-", "_")) is not None:
                    logging.getLogger(__name__).warning("--%s has no effect", name)
            with stop_on_signals(None if file is None else file.reopen) as stop:
                try:
                    _compile(args, stop) if args.compile else _serve(args, target, tls, stop)
                except (P4Error, EngineError, RuntimeError, OSError):
                    if not stop.is_told or args.compile:
                        raise  # else it is what became of a start that was to end
    except (P4Error, EngineError, RuntimeError, OSError) as error:
        print(f"p4softswitch: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
