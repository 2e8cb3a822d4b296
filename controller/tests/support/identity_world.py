# SPDX-License-Identifier: Apache-2.0
"""What the tests of identities stand on: an authority, certificates of every irregular kind, a service, peers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from nvo3sec.domain.overlay.model import Rate
from nvo3sec.identity.authority.authority import Authority
from nvo3sec.identity.certificate import Purpose
from nvo3sec.identity.client import PeerChannel
from nvo3sec.identity.device import Device, DeviceFiles
from nvo3sec.identity.front.admission import FrontLimits
from nvo3sec.identity.gate.authorization import AccessTable, Method, Rule, Scope, Subject
from nvo3sec.identity.gate.limits import MethodLimits
from nvo3sec.identity.live_peers import LivePeers
from nvo3sec.identity.names import DeviceName, Role
from nvo3sec.identity.revocation_lists import RevocationFile
from nvo3sec.identity.server import SecureServer

DOMAIN = "lab.example"
T = TypeVar("T")

HANGS_S = 120.0
"""What takes so long hangs, however busy the machine."""


def run(coroutine: Coroutine[Any, Any, T], timeout_s: float = HANGS_S) -> T:
    """Run a test's coroutine, for so long at most."""

    async def bounded() -> T:
        async with asyncio.timeout(timeout_s):
            return await coroutine

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool], timeout_s: float = HANGS_S) -> None:
    """Wait until something is so; fails if it never is."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


class FakeClock:
    """Wall time that moves when it is told to."""

    def __init__(self, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def make_key(kind: str = "p256") -> Any:
    """A private key."""
    match kind:
        case "p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p521":
            return ec.generate_private_key(ec.SECP521R1())
        case "p224":
            return ec.generate_private_key(ec.SECP224R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ed448":
            return ed448.Ed448PrivateKey.generate()
        case _:
            return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def key_pem(key: Any) -> bytes:
    """PKCS #8."""
    pem: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return pem


def pem(certificate: x509.Certificate) -> bytes:
    """PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def san(*names: str) -> list[x509.GeneralName]:
    """A subject alternative name: what has :// is a URI, the others are DNS names."""
    return [x509.UniformResourceIdentifier(name) if "://" in name else x509.DNSName(name) for name in names]


class ForeignAuthority:
    """An authority of somebody else, with a library of its own: what it signs is whatever is asked.

    identifiers: whether it writes key identifiers into what it signs.
    """

    identifiers = False

    def __init__(self, kind: str = "p256", name: str = "foreign", *, identifiers: bool = False) -> None:
        self.identifiers = identifiers
        self.key = make_key(kind)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self.sign(self.name, self.key, ca=True, purposes=(), names=())

    def sign(
        self,
        subject: x509.Name,
        key: Any,
        *,
        names: Iterable[x509.GeneralName] | None,
        purposes: Sequence[x509.ObjectIdentifier] | None = (
            ExtendedKeyUsageOID.CLIENT_AUTH,
            ExtendedKeyUsageOID.SERVER_AUTH,
        ),
        ca: bool = False,
        usage: x509.KeyUsage | None = None,
        begins: timedelta = timedelta(minutes=-5),
        ends: timedelta = timedelta(hours=1),
        digest: Any = None,
    ) -> x509.Certificate:
        """A certificate."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names := list(names or ()):
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if usage is not None:
            builder = builder.add_extension(usage, critical=True)
        if self.identifiers:
            subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
            issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
            builder = builder.add_extension(subject_key, False).add_extension(issuer_key, False)
        pure = isinstance(self.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
        return builder.sign(self.key, None if pure else digest or hashes.SHA256())

    def device(self, device: DeviceName, key: Any = None, **options: Any) -> tuple[x509.Certificate, Any]:
        """A certificate with the names that belong into it, and its key."""
        key = key or make_key()
        options.setdefault("names", san(device.uri, device.dns))
        return self.sign(x509.Name([]), key, **options), key

    def revocations(
        self,
        serials: Iterable[int] = (),
        *,
        number: int | None = 1,
        begins: timedelta = timedelta(minutes=-1),
        ends: timedelta = timedelta(hours=1),
        extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
        key: Any = None,
    ) -> bytes:
        """A revocation list in PEM."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now + begins).next_update(now + ends)
        if number is not None:
            builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(key or self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class World:
    """An authority and the devices that it knows."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.directory = directory
        self.authority = Authority.create(directory / "pki", DOMAIN, clock=clock)

    def name(self, role: Role, name: str) -> DeviceName:
        """A name in the domain."""
        return DeviceName(DOMAIN, role, name)

    def issue(self, role: Role, name: str, **options: Any) -> DeviceFiles:
        """Credentials of a device."""
        path, _ = self.authority.issue(self.name(role, name), **options)
        return DeviceFiles(path, path, self.authority.anchors_file)

    def signing(self) -> ForeignAuthority:
        """This world's authority as one that signs whatever is asked: a careless one."""
        careless = ForeignAuthority()
        bundle = (self.directory / "pki" / "authority.pem").read_bytes()
        careless.key = serialization.load_pem_private_key(bundle, None)
        careless.certificate = x509.load_pem_x509_certificate(bundle)
        careless.name = careless.certificate.subject
        return careless

    def store(self, certificate: x509.Certificate, key: Any, name: str, anchors: bytes | None = None) -> DeviceFiles:
        """Files of credentials that were made by hand."""
        path = self.directory / f"{name}.pem"
        path.write_bytes(key_pem(key) + pem(certificate))
        path.chmod(0o600)
        trusted = self.authority.anchors_file
        if anchors is not None:
            trusted = self.directory / f"{name}.anchors.pem"
            trusted.write_bytes(anchors)
        return DeviceFiles(path, path, trusted)

    def device(self, files: DeviceFiles, purpose: Purpose, **options: Any) -> Device:
        """Loaded credentials."""
        return Device(files, DOMAIN, purpose, **options)

    def live(self, **options: Any) -> LivePeers:
        """A registry over this authority's revocation list."""
        anchors = tuple(x509.load_pem_x509_certificates(self.authority.anchors_file.read_bytes()))
        return LivePeers(RevocationFile(self.authority.revocation_file, lambda: anchors), **options)


# --- a service ------------------------------------------------------------------------------------------------------

ECHO = "/test.Service/Echo"
SESSION = "/test.Service/Session"
WATCH = "/test.Service/Watch"
COLLECT = "/test.Service/Collect"
FAIL = "/test.Service/Fail"
MISSING = "/test.Service/Missing"

FREE = MethodLimits(calls=Rate(10_000, 10_000), messages=Rate(10_000, 10_000), concurrent=1000, message_bytes=1 << 20)


def subject_of(message: Any) -> Subject:
    """Test messages say what they are about by themselves."""
    return Subject(
        frozenset(message.get("vnis", ())), frozenset(DeviceName.from_uri(uri) for uri in message.get("devices", ()))
    )


def table(limits: MethodLimits = FREE, **by_method: MethodLimits) -> AccessTable:
    """The table of the test service."""

    def limit(name: str) -> MethodLimits:
        return by_method.get(name.rpartition("/")[2], limits)

    methods = [Method(name, limit(name), subject_of) for name in (ECHO, SESSION, WATCH, COLLECT, FAIL, MISSING)]
    rules = [Rule(name, Role.NVE, Scope.SERVED_VNS) for name in (ECHO, SESSION, WATCH, COLLECT, FAIL, MISSING)]
    rules += [Rule(ECHO, Role.OPERATOR, Scope.ANYTHING), Rule(ECHO, Role.NVA, Scope.SELF)]
    return AccessTable(methods, rules)


@dataclass
class Service(grpc.GenericRpcHandler):
    """Echoes JSON. `parsed` are the messages that got as far as being parsed, `callers` who sent them."""

    parsed: list[Any] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    running: int = 0
    ended: int = 0
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def service(self, handler_call_details: Any) -> Any:
        """Called by gRPC."""
        options = {"request_deserializer": self._parse, "response_serializer": _dump}
        match handler_call_details.method:
            case "/test.Service/Echo":
                return grpc.unary_unary_rpc_method_handler(self._echo, **options)
            case "/test.Service/Session":
                return grpc.stream_stream_rpc_method_handler(self._session, **options)
            case "/test.Service/Watch":
                return grpc.unary_stream_rpc_method_handler(self._watch, **options)
            case "/test.Service/Collect":
                return grpc.stream_unary_rpc_method_handler(self._collect, **options)
            case "/test.Service/Fail":
                return grpc.unary_unary_rpc_method_handler(self._fail, **options)
        return None

    def _parse(self, raw: bytes) -> Any:
        message = json.loads(raw)
        self.parsed.append(message)
        return message

    async def _echo(self, message: Any, context: Any) -> Any:
        self.callers.append(str(context.identity))
        if message.get("hold"):
            self.running += 1
            await self.release.wait()
        return message

    async def _session(self, messages: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        self.running += 1
        try:
            yield {"hello": str(context.identity)}
            async for message in messages:
                yield message
        finally:
            self.running -= 1
            self.ended += 1

    async def _watch(self, message: Any, context: Any) -> None:
        self.running += 1
        try:
            await context.write({"watching": message})
            await self.release.wait()
        finally:
            self.running -= 1
            self.ended += 1

    async def _collect(self, _messages: Any, context: Any) -> Any:
        collected = []
        while (message := await context.read()) is not grpc.aio.EOF:
            collected.append(message)
        return {"collected": collected}

    async def _fail(self, message: Any, _context: Any) -> Any:
        raise RuntimeError(f"the secret is {message['secret']}")


def _dump(message: Any) -> bytes:
    return json.dumps(message).encode()


class Served:
    """VNs that each device serves."""

    def __init__(self, **served: Iterable[int]) -> None:
        self.served = {name: frozenset(vnis) for name, vnis in served.items()}

    def vnis_of(self, device: DeviceName) -> frozenset[int]:
        """For the gate."""
        return self.served.get(device.name, frozenset()) if device.role is Role.NVE else frozenset()


@dataclass
class Running:
    """A server that runs."""

    world: World
    server: SecureServer
    service: Service
    live: LivePeers
    port: int
    name: DeviceName


@contextlib.asynccontextmanager
async def serving(
    world: World,
    *,
    name: str = "nva1",
    access: AccessTable | None = None,
    membership: Served | None = None,
    front: FrontLimits | None = None,
    device: Device | None = None,
    live: LivePeers | None = None,
    host: str = "127.0.0.1",
    remember: Path | None = None,
) -> AsyncIterator[Running]:
    """The test service behind everything that stands before a service."""
    if live is None:
        live = world.live()
    device = device or world.device(world.issue(Role.NVA, name), Purpose.SERVER)
    server = SecureServer(
        device,
        live,
        access or table(),
        membership or Served(leaf1={10, 11}, leaf2={20}),
        front=front or FrontLimits(),
        remember=remember,
    )
    service = Service()
    server.grpc.add_generic_rpc_handlers([service])
    port = await server.start(host, 0)
    try:
        yield Running(world, server, service, live, port, world.name(Role.NVA, name))
    finally:
        service.release.set()
        await server.stop(0)


# --- peers ----------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def connected(
    running: Running, files: DeviceFiles, *, host: str = "127.0.0.1", expected: DeviceName | None = None
) -> AsyncIterator[PeerChannel]:
    """A proper client."""
    device = running.world.device(files, Purpose.CLIENT)
    peer = PeerChannel(device, running.live, expected or running.name, host, running.port)
    await peer.start()
    try:
        yield peer
    finally:
        await peer.close()


def method(channel: grpc.aio.Channel, name: str, kind: str = "unary_unary") -> Any:
    """A stub of one method."""
    return getattr(channel, kind)(name, request_serializer=_dump, response_deserializer=json.loads)


async def call(channel: grpc.aio.Channel | None, name: str, message: Any, timeout_s: float = HANGS_S) -> Any:
    """A unary call."""
    assert channel is not None
    return await method(channel, name)(message, timeout=timeout_s)


async def refusal(channel: grpc.aio.Channel | None, name: str, message: Any) -> grpc.aio.AioRpcError:
    """The refusal of a unary call; fails if it is not refused."""
    try:
        answer = await call(channel, name, message)
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"not refused: {answer}")


def grpc_channel(port: int, files: DeviceFiles | None, server: DeviceName, **options: Any) -> grpc.aio.Channel:
    """A client of gRPC's own, which checks nothing but what TLS checks: the attacker's."""
    anchors = files.anchors.read_bytes() if files else options.pop("anchors")
    credentials = grpc.ssl_channel_credentials(
        anchors, files.key.read_bytes() if files else None, files.certificate.read_bytes() if files else None
    )
    return grpc.aio.secure_channel(
        f"127.0.0.1:{port}",
        credentials,
        options=[
            ("grpc.ssl_target_name_override", server.dns),
            ("grpc.use_local_subchannel_pool", 1),
            *options.pop("options", ()),
        ],
    )


def tls_context(files: DeviceFiles | None, anchors: Path, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client context of OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(anchors)
    context.set_alpn_protocols(["h2"])
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context
