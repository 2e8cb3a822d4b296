# SPDX-License-Identifier: Apache-2.0
"""The command `p4softswitch ports`: ports of a switch that runs, through its service p4softswitch.v1.Ports."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from .arguments import Parser
from .server.portservice import SERVICE

_DEADLINE_S = 60.0


class _Parser(Parser):
    speaker = "p4softswitch ports"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="p4softswitch ports", description="List, add and remove ports of a switch that runs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|add|remove")
    listing = commands.add_parser("list", help="each port with its state: up, down, absent")
    listing.add_argument("--json", action="store_true", help="as the switch says it")
    add = commands.add_parser("add", help="add a port, until the switch ends")
    add.add_argument("port", metavar="PORT@IFACE", help="or PORT@unix:LOCAL,PEER, as -i of the switch takes it")
    add.add_argument("--wait", action="store_true", help="also if the interface is not there yet")
    remove = commands.add_parser("remove", help="remove a port, one of -i too")
    remove.add_argument("port", type=int, metavar="PORT")
    for one in (listing, add, remove):
        one.add_argument("--grpc-server-addr", default="127.0.0.1:9559", help="of the switch (default %(default)s)")
        one.add_argument(
            "--cacert", type=Path, help="PEM file: the switch has TLS, and a certificate of this authority"
        )
        one.add_argument("--cert", type=Path, help="PEM file: certificate to show")
        one.add_argument("--key", type=Path, help="PEM file: its key")
    return parser


def _channel(args: argparse.Namespace) -> grpc.Channel:
    if args.cacert is None:
        return grpc.insecure_channel(args.grpc_server_addr)
    key, cert = (None if path is None else path.read_bytes() for path in (args.key, args.cert))
    return grpc.secure_channel(args.grpc_server_addr, grpc.ssl_channel_credentials(args.cacert.read_bytes(), key, cert))


def _call(args: argparse.Namespace) -> Any:
    requests: dict[str, dict[str, Any]] = {
        "list": {},
        "add": {"port": getattr(args, "port", ""), "wait": getattr(args, "wait", False)},
        "remove": {"port": getattr(args, "port", 0)},
    }
    with _channel(args) as channel:
        method = channel.unary_unary(f"/{SERVICE}/{args.command.capitalize()}")
        return json.loads(method(json.dumps(requests[args.command]).encode(), timeout=_DEADLINE_S))


def main(argv: Sequence[str]) -> int:
    """Exit status 0, or 1 with one line on standard error."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.cacert is None and (args.cert is not None or args.key is not None):
        parser.error("--cert and --key are for TLS, which needs --cacert")
    if (args.cert is None) != (args.key is None):
        parser.error("--cert and --key belong together")
    try:
        answer = _call(args)
    except grpc.RpcError as error:
        print(f"p4softswitch ports: {error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(f"p4softswitch ports: {error}", file=sys.stderr)
        return 1
    if args.command == "list" and args.json:
        print(json.dumps(answer, indent=2))
        return 0
    for number, port in answer["ports"].items():
        towards = f" (peer {port['peer']})" if "peer" in port else ""
        reason = f": {port['reason']}" if port["reason"] else ""
        print(f"{number}\t{port['interface']}{towards}\t{port['state']}{reason}")
    return 0
