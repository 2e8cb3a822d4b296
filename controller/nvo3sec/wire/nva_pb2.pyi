# SPDX-License-Identifier: Apache-2.0
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Suite(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SUITE_UNSPECIFIED: _ClassVar[Suite]
    SUITE_CHASKEY12: _ClassVar[Suite]
    SUITE_ASCON_AEAD128: _ClassVar[Suite]

class Level(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LEVEL_UNSPECIFIED: _ClassVar[Level]
    LEVEL_INTEGRITY: _ClassVar[Level]
    LEVEL_CONFIDENTIALITY: _ClassVar[Level]

class DscpModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DSCP_MODEL_UNSPECIFIED: _ClassVar[DscpModel]
    DSCP_MODEL_PIPE: _ClassVar[DscpModel]
    DSCP_MODEL_COPY: _ClassVar[DscpModel]

class TunnelKeys(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TUNNEL_KEYS_UNSPECIFIED: _ClassVar[TunnelKeys]
    TUNNEL_KEYS_NVA: _ClassVar[TunnelKeys]
    TUNNEL_KEYS_NVA_AND_PEER: _ClassVar[TunnelKeys]

class End(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_UNSPECIFIED: _ClassVar[End]
    END_SENDER: _ClassVar[End]
    END_RECEIVER: _ClassVar[End]

class QuestionKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUESTION_KIND_UNSPECIFIED: _ClassVar[QuestionKind]
    QUESTION_KIND_STATUS: _ClassVar[QuestionKind]
    QUESTION_KIND_COUNTERS: _ClassVar[QuestionKind]
    QUESTION_KIND_RECONCILE: _ClassVar[QuestionKind]
    QUESTION_KIND_PREVIEW: _ClassVar[QuestionKind]
    QUESTION_KIND_KEYS: _ClassVar[QuestionKind]

class TermKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TERM_KIND_UNSPECIFIED: _ClassVar[TermKind]
    TERM_KIND_CERTIFICATE: _ClassVar[TermKind]
    TERM_KIND_REVOCATION_LIST: _ClassVar[TermKind]
    TERM_KIND_TRUST_ANCHOR: _ClassVar[TermKind]

class LookupResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOOKUP_RESULT_UNSPECIFIED: _ClassVar[LookupResult]
    LOOKUP_RESULT_FOUND: _ClassVar[LookupResult]
    LOOKUP_RESULT_UNKNOWN: _ClassVar[LookupResult]
    LOOKUP_RESULT_REFUSED: _ClassVar[LookupResult]
    LOOKUP_RESULT_BUSY: _ClassVar[LookupResult]

class Standing(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STANDING_UNSPECIFIED: _ClassVar[Standing]
    STANDING_ACTIVE: _ClassVar[Standing]
    STANDING_FROZEN: _ClassVar[Standing]
    STANDING_DONE: _ClassVar[Standing]
    STANDING_REFUSED: _ClassVar[Standing]
SUITE_UNSPECIFIED: Suite
SUITE_CHASKEY12: Suite
SUITE_ASCON_AEAD128: Suite
LEVEL_UNSPECIFIED: Level
LEVEL_INTEGRITY: Level
LEVEL_CONFIDENTIALITY: Level
DSCP_MODEL_UNSPECIFIED: DscpModel
DSCP_MODEL_PIPE: DscpModel
DSCP_MODEL_COPY: DscpModel
TUNNEL_KEYS_UNSPECIFIED: TunnelKeys
TUNNEL_KEYS_NVA: TunnelKeys
TUNNEL_KEYS_NVA_AND_PEER: TunnelKeys
END_UNSPECIFIED: End
END_SENDER: End
END_RECEIVER: End
QUESTION_KIND_UNSPECIFIED: QuestionKind
QUESTION_KIND_STATUS: QuestionKind
QUESTION_KIND_COUNTERS: QuestionKind
QUESTION_KIND_RECONCILE: QuestionKind
QUESTION_KIND_PREVIEW: QuestionKind
QUESTION_KIND_KEYS: QuestionKind
TERM_KIND_UNSPECIFIED: TermKind
TERM_KIND_CERTIFICATE: TermKind
TERM_KIND_REVOCATION_LIST: TermKind
TERM_KIND_TRUST_ANCHOR: TermKind
LOOKUP_RESULT_UNSPECIFIED: LookupResult
LOOKUP_RESULT_FOUND: LookupResult
LOOKUP_RESULT_UNKNOWN: LookupResult
LOOKUP_RESULT_REFUSED: LookupResult
LOOKUP_RESULT_BUSY: LookupResult
STANDING_UNSPECIFIED: Standing
STANDING_ACTIVE: Standing
STANDING_FROZEN: Standing
STANDING_DONE: Standing
STANDING_REFUSED: Standing

class AgentMessage(_message.Message):
    __slots__ = ("registration", "read_back", "report", "answer", "use", "peer_news", "terms")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    READ_BACK_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    USE_FIELD_NUMBER: _ClassVar[int]
    PEER_NEWS_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    read_back: ReadBack
    report: Report
    answer: Answer
    use: Use
    peer_news: PeerNews
    terms: CredentialTerms
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., read_back: _Optional[_Union[ReadBack, _Mapping]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., answer: _Optional[_Union[Answer, _Mapping]] = ..., use: _Optional[_Union[Use, _Mapping]] = ..., peer_news: _Optional[_Union[PeerNews, _Mapping]] = ..., terms: _Optional[_Union[CredentialTerms, _Mapping]] = ...) -> None: ...

class NvaMessage(_message.Message):
    __slots__ = ("welcome", "view", "keys", "question", "tenants", "mappings", "peers", "key_changes", "new_incarnation")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    QUESTION_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    KEY_CHANGES_FIELD_NUMBER: _ClassVar[int]
    NEW_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    view: NveView
    keys: KeyState
    question: Question
    tenants: TenantState
    mappings: MappingUpdate
    peers: PeerUpdate
    key_changes: KeyUpdate
    new_incarnation: NewIncarnation
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., view: _Optional[_Union[NveView, _Mapping]] = ..., keys: _Optional[_Union[KeyState, _Mapping]] = ..., question: _Optional[_Union[Question, _Mapping]] = ..., tenants: _Optional[_Union[TenantState, _Mapping]] = ..., mappings: _Optional[_Union[MappingUpdate, _Mapping]] = ..., peers: _Optional[_Union[PeerUpdate, _Mapping]] = ..., key_changes: _Optional[_Union[KeyUpdate, _Mapping]] = ..., new_incarnation: _Optional[_Union[NewIncarnation, _Mapping]] = ...) -> None: ...

class Speaks(_message.Message):
    __slots__ = ("protocol", "oldest", "features", "software")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    SOFTWARE_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    oldest: int
    features: _containers.RepeatedScalarFieldContainer[str]
    software: str
    def __init__(self, protocol: _Optional[int] = ..., oldest: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., software: _Optional[str] = ...) -> None: ...

class StoreMark(_message.Message):
    __slots__ = ("term", "version", "digest")
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    term: int
    version: int
    digest: bytes
    def __init__(self, term: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session", "term", "version", "digest", "known", "speaks")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    SPEAKS_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    term: int
    version: int
    digest: bytes
    known: _containers.RepeatedCompositeFieldContainer[StoreMark]
    speaks: Speaks
    def __init__(self, session: _Optional[bytes] = ..., term: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ..., known: _Optional[_Iterable[_Union[StoreMark, _Mapping]]] = ..., speaks: _Optional[_Union[Speaks, _Mapping]] = ...) -> None: ...

class Rate(_message.Message):
    __slots__ = ("per_second", "burst")
    PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    per_second: int
    burst: int
    def __init__(self, per_second: _Optional[int] = ..., burst: _Optional[int] = ...) -> None: ...

class Vn(_message.Message):
    __slots__ = ("name", "vni", "level", "mtu", "punt", "negative_quota", "allow_link_local", "flood", "vap_flood")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VNI_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    PUNT_FIELD_NUMBER: _ClassVar[int]
    NEGATIVE_QUOTA_FIELD_NUMBER: _ClassVar[int]
    ALLOW_LINK_LOCAL_FIELD_NUMBER: _ClassVar[int]
    FLOOD_FIELD_NUMBER: _ClassVar[int]
    VAP_FLOOD_FIELD_NUMBER: _ClassVar[int]
    name: str
    vni: int
    level: Level
    mtu: int
    punt: Rate
    negative_quota: int
    allow_link_local: bool
    flood: Rate
    vap_flood: Rate
    def __init__(self, name: _Optional[str] = ..., vni: _Optional[int] = ..., level: _Optional[_Union[Level, str]] = ..., mtu: _Optional[int] = ..., punt: _Optional[_Union[Rate, _Mapping]] = ..., negative_quota: _Optional[int] = ..., allow_link_local: bool = ..., flood: _Optional[_Union[Rate, _Mapping]] = ..., vap_flood: _Optional[_Union[Rate, _Mapping]] = ...) -> None: ...

class Vap(_message.Message):
    __slots__ = ("port", "vlan", "vn", "meter")
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    port: int
    vlan: int
    vn: str
    meter: Rate
    def __init__(self, port: _Optional[int] = ..., vlan: _Optional[int] = ..., vn: _Optional[str] = ..., meter: _Optional[_Union[Rate, _Mapping]] = ...) -> None: ...

class UnderlayPort(_message.Message):
    __slots__ = ("port", "mac")
    PORT_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    port: int
    mac: int
    def __init__(self, port: _Optional[int] = ..., mac: _Optional[int] = ...) -> None: ...

class PeerVn(_message.Message):
    __slots__ = ("vni", "level")
    VNI_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    vni: int
    level: Level
    def __init__(self, vni: _Optional[int] = ..., level: _Optional[_Union[Level, str]] = ...) -> None: ...

class Peer(_message.Message):
    __slots__ = ("name", "address", "port", "mac", "next_hop_mac", "meter", "vns", "sends", "mtu", "other_address", "zero_checksum")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    NEXT_HOP_MAC_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    VNS_FIELD_NUMBER: _ClassVar[int]
    SENDS_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    OTHER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ZERO_CHECKSUM_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: bytes
    port: int
    mac: int
    next_hop_mac: int
    meter: Rate
    vns: _containers.RepeatedCompositeFieldContainer[PeerVn]
    sends: Level
    mtu: int
    other_address: bytes
    zero_checksum: bool
    def __init__(self, name: _Optional[str] = ..., address: _Optional[bytes] = ..., port: _Optional[int] = ..., mac: _Optional[int] = ..., next_hop_mac: _Optional[int] = ..., meter: _Optional[_Union[Rate, _Mapping]] = ..., vns: _Optional[_Iterable[_Union[PeerVn, _Mapping]]] = ..., sends: _Optional[_Union[Level, str]] = ..., mtu: _Optional[int] = ..., other_address: _Optional[bytes] = ..., zero_checksum: bool = ...) -> None: ...

class TenantSystem(_message.Message):
    __slots__ = ("name", "vn", "nve", "port", "vlan", "mac", "ips", "allow_other_ethertypes", "allow_unspecified_source", "allow_router", "allow_dhcp_server")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_OTHER_ETHERTYPES_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNSPECIFIED_SOURCE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_ROUTER_FIELD_NUMBER: _ClassVar[int]
    ALLOW_DHCP_SERVER_FIELD_NUMBER: _ClassVar[int]
    name: str
    vn: str
    nve: str
    port: int
    vlan: int
    mac: int
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    allow_other_ethertypes: bool
    allow_unspecified_source: bool
    allow_router: bool
    allow_dhcp_server: bool
    def __init__(self, name: _Optional[str] = ..., vn: _Optional[str] = ..., nve: _Optional[str] = ..., port: _Optional[int] = ..., vlan: _Optional[int] = ..., mac: _Optional[int] = ..., ips: _Optional[_Iterable[bytes]] = ..., allow_other_ethertypes: bool = ..., allow_unspecified_source: bool = ..., allow_router: bool = ..., allow_dhcp_server: bool = ...) -> None: ...

class NveView(_message.Message):
    __slots__ = ("version", "name", "address", "mtu", "underlay_ports", "vns", "vaps", "peers", "tenant_systems", "lease_s", "lease_renew_s", "tunnel_keys", "guards", "claim_places", "verify_rate", "other_address", "dscp")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    MTU_FIELD_NUMBER: _ClassVar[int]
    UNDERLAY_PORTS_FIELD_NUMBER: _ClassVar[int]
    VNS_FIELD_NUMBER: _ClassVar[int]
    VAPS_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    TENANT_SYSTEMS_FIELD_NUMBER: _ClassVar[int]
    LEASE_S_FIELD_NUMBER: _ClassVar[int]
    LEASE_RENEW_S_FIELD_NUMBER: _ClassVar[int]
    TUNNEL_KEYS_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    CLAIM_PLACES_FIELD_NUMBER: _ClassVar[int]
    VERIFY_RATE_FIELD_NUMBER: _ClassVar[int]
    OTHER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DSCP_FIELD_NUMBER: _ClassVar[int]
    version: int
    name: str
    address: bytes
    mtu: int
    underlay_ports: _containers.RepeatedCompositeFieldContainer[UnderlayPort]
    vns: _containers.RepeatedCompositeFieldContainer[Vn]
    vaps: _containers.RepeatedCompositeFieldContainer[Vap]
    peers: _containers.RepeatedCompositeFieldContainer[Peer]
    tenant_systems: _containers.RepeatedCompositeFieldContainer[TenantSystem]
    lease_s: float
    lease_renew_s: float
    tunnel_keys: TunnelKeys
    guards: _containers.RepeatedCompositeFieldContainer[Guard]
    claim_places: _containers.RepeatedCompositeFieldContainer[Guard]
    verify_rate: int
    other_address: bytes
    dscp: OuterDscp
    def __init__(self, version: _Optional[int] = ..., name: _Optional[str] = ..., address: _Optional[bytes] = ..., mtu: _Optional[int] = ..., underlay_ports: _Optional[_Iterable[_Union[UnderlayPort, _Mapping]]] = ..., vns: _Optional[_Iterable[_Union[Vn, _Mapping]]] = ..., vaps: _Optional[_Iterable[_Union[Vap, _Mapping]]] = ..., peers: _Optional[_Iterable[_Union[Peer, _Mapping]]] = ..., tenant_systems: _Optional[_Iterable[_Union[TenantSystem, _Mapping]]] = ..., lease_s: _Optional[float] = ..., lease_renew_s: _Optional[float] = ..., tunnel_keys: _Optional[_Union[TunnelKeys, str]] = ..., guards: _Optional[_Iterable[_Union[Guard, _Mapping]]] = ..., claim_places: _Optional[_Iterable[_Union[Guard, _Mapping]]] = ..., verify_rate: _Optional[int] = ..., other_address: _Optional[bytes] = ..., dscp: _Optional[_Union[OuterDscp, _Mapping]] = ...) -> None: ...

class OuterDscp(_message.Message):
    __slots__ = ("model", "value")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    model: DscpModel
    value: int
    def __init__(self, model: _Optional[_Union[DscpModel, str]] = ..., value: _Optional[int] = ...) -> None: ...

class Guard(_message.Message):
    __slots__ = ("port", "vlan", "mac", "ips")
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    port: int
    vlan: int
    mac: int
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, port: _Optional[int] = ..., vlan: _Optional[int] = ..., mac: _Optional[int] = ..., ips: _Optional[_Iterable[bytes]] = ...) -> None: ...

class TenantState(_message.Message):
    __slots__ = ("version", "tenant_systems", "guards")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANT_SYSTEMS_FIELD_NUMBER: _ClassVar[int]
    GUARDS_FIELD_NUMBER: _ClassVar[int]
    version: int
    tenant_systems: _containers.RepeatedCompositeFieldContainer[TenantSystem]
    guards: _containers.RepeatedCompositeFieldContainer[Guard]
    def __init__(self, version: _Optional[int] = ..., tenant_systems: _Optional[_Iterable[_Union[TenantSystem, _Mapping]]] = ..., guards: _Optional[_Iterable[_Union[Guard, _Mapping]]] = ...) -> None: ...

class RemoteMapping(_message.Message):
    __slots__ = ("mac", "nve", "ips", "sequence")
    MAC_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    mac: int
    nve: str
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    sequence: int
    def __init__(self, mac: _Optional[int] = ..., nve: _Optional[str] = ..., ips: _Optional[_Iterable[bytes]] = ..., sequence: _Optional[int] = ...) -> None: ...

class WithdrawnMapping(_message.Message):
    __slots__ = ("mac", "version")
    MAC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    mac: int
    version: int
    def __init__(self, mac: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class MappingUpdate(_message.Message):
    __slots__ = ("vni", "base", "history", "version", "mappings", "withdrawn")
    VNI_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    vni: int
    base: int
    history: bytes
    version: int
    mappings: _containers.RepeatedCompositeFieldContainer[RemoteMapping]
    withdrawn: _containers.RepeatedCompositeFieldContainer[WithdrawnMapping]
    def __init__(self, vni: _Optional[int] = ..., base: _Optional[int] = ..., history: _Optional[bytes] = ..., version: _Optional[int] = ..., mappings: _Optional[_Iterable[_Union[RemoteMapping, _Mapping]]] = ..., withdrawn: _Optional[_Iterable[_Union[WithdrawnMapping, _Mapping]]] = ...) -> None: ...

class ReceiveSa(_message.Message):
    __slots__ = ("peer", "suite", "spi", "generation", "key", "remaining_s", "min_coverage", "pair")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REMAINING_S_FIELD_NUMBER: _ClassVar[int]
    MIN_COVERAGE_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    spi: int
    generation: int
    key: bytes
    remaining_s: float
    min_coverage: int
    pair: Pair
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ..., generation: _Optional[int] = ..., key: _Optional[bytes] = ..., remaining_s: _Optional[float] = ..., min_coverage: _Optional[int] = ..., pair: _Optional[_Union[Pair, _Mapping]] = ...) -> None: ...

class SendSa(_message.Message):
    __slots__ = ("peer", "suite", "spi", "key", "remaining_s", "generation", "pair")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    REMAINING_S_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    spi: int
    key: bytes
    remaining_s: float
    generation: int
    pair: Pair
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ..., key: _Optional[bytes] = ..., remaining_s: _Optional[float] = ..., generation: _Optional[int] = ..., pair: _Optional[_Union[Pair, _Mapping]] = ...) -> None: ...

class Pair(_message.Message):
    __slots__ = ("ours", "theirs")
    OURS_FIELD_NUMBER: _ClassVar[int]
    THEIRS_FIELD_NUMBER: _ClassVar[int]
    ours: bytes
    theirs: bytes
    def __init__(self, ours: _Optional[bytes] = ..., theirs: _Optional[bytes] = ...) -> None: ...

class KeyState(_message.Message):
    __slots__ = ("version", "incarnation", "receive", "send")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    version: int
    incarnation: bytes
    receive: _containers.RepeatedCompositeFieldContainer[ReceiveSa]
    send: _containers.RepeatedCompositeFieldContainer[SendSa]
    def __init__(self, version: _Optional[int] = ..., incarnation: _Optional[bytes] = ..., receive: _Optional[_Iterable[_Union[ReceiveSa, _Mapping]]] = ..., send: _Optional[_Iterable[_Union[SendSa, _Mapping]]] = ...) -> None: ...

class PeerLevel(_message.Message):
    __slots__ = ("peer", "suite")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ...) -> None: ...

class KeyUpdate(_message.Message):
    __slots__ = ("version", "base", "incarnation", "receives", "sends", "receive", "send")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVES_FIELD_NUMBER: _ClassVar[int]
    SENDS_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    version: int
    base: int
    incarnation: bytes
    receives: _containers.RepeatedCompositeFieldContainer[PeerLevel]
    sends: _containers.RepeatedCompositeFieldContainer[PeerLevel]
    receive: _containers.RepeatedCompositeFieldContainer[ReceiveSa]
    send: _containers.RepeatedCompositeFieldContainer[SendSa]
    def __init__(self, version: _Optional[int] = ..., base: _Optional[int] = ..., incarnation: _Optional[bytes] = ..., receives: _Optional[_Iterable[_Union[PeerLevel, _Mapping]]] = ..., sends: _Optional[_Iterable[_Union[PeerLevel, _Mapping]]] = ..., receive: _Optional[_Iterable[_Union[ReceiveSa, _Mapping]]] = ..., send: _Optional[_Iterable[_Union[SendSa, _Mapping]]] = ...) -> None: ...

class NewIncarnation(_message.Message):
    __slots__ = ("instead_of",)
    INSTEAD_OF_FIELD_NUMBER: _ClassVar[int]
    instead_of: bytes
    def __init__(self, instead_of: _Optional[bytes] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("statement", "signature", "chain")
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CHAIN_FIELD_NUMBER: _ClassVar[int]
    statement: bytes
    signature: bytes
    chain: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, statement: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., chain: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Proof(_message.Message):
    __slots__ = ("peer", "suite", "spi", "end", "proof")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    spi: int
    end: End
    proof: bytes
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ..., end: _Optional[_Union[End, str]] = ..., proof: _Optional[bytes] = ...) -> None: ...

class Contributions(_message.Message):
    __slots__ = ("all",)
    ALL_FIELD_NUMBER: _ClassVar[int]
    all: _containers.RepeatedCompositeFieldContainer[Contribution]
    def __init__(self, all: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ...) -> None: ...

class PeerNews(_message.Message):
    __slots__ = ("incarnation", "contributions", "proofs")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    contributions: Contributions
    proofs: _containers.RepeatedCompositeFieldContainer[Proof]
    def __init__(self, incarnation: _Optional[bytes] = ..., contributions: _Optional[_Union[Contributions, _Mapping]] = ..., proofs: _Optional[_Iterable[_Union[Proof, _Mapping]]] = ...) -> None: ...

class PeerContribution(_message.Message):
    __slots__ = ("peer", "incarnation", "epoch", "contribution")
    PEER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    peer: str
    incarnation: bytes
    epoch: int
    contribution: Contribution
    def __init__(self, peer: _Optional[str] = ..., incarnation: _Optional[bytes] = ..., epoch: _Optional[int] = ..., contribution: _Optional[_Union[Contribution, _Mapping]] = ...) -> None: ...

class PeerUpdate(_message.Message):
    __slots__ = ("epoch", "contributions", "proofs")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    PROOFS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    contributions: _containers.RepeatedCompositeFieldContainer[PeerContribution]
    proofs: _containers.RepeatedCompositeFieldContainer[Proof]
    def __init__(self, epoch: _Optional[int] = ..., contributions: _Optional[_Iterable[_Union[PeerContribution, _Mapping]]] = ..., proofs: _Optional[_Iterable[_Union[Proof, _Mapping]]] = ...) -> None: ...

class Question(_message.Message):
    __slots__ = ("number", "kind")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    number: int
    kind: QuestionKind
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[_Union[QuestionKind, str]] = ...) -> None: ...

class Held(_message.Message):
    __slots__ = ("address", "suite", "spi", "generation", "remaining_s")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    REMAINING_S_FIELD_NUMBER: _ClassVar[int]
    address: bytes
    suite: Suite
    spi: int
    generation: int
    remaining_s: float
    def __init__(self, address: _Optional[bytes] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ..., generation: _Optional[int] = ..., remaining_s: _Optional[float] = ...) -> None: ...

class Attachment(_message.Message):
    __slots__ = ("port", "vlan", "vni", "mac", "ips", "host", "vn")
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    VNI_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    port: int
    vlan: int
    vni: int
    mac: int
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    host: str
    vn: str
    def __init__(self, port: _Optional[int] = ..., vlan: _Optional[int] = ..., vni: _Optional[int] = ..., mac: _Optional[int] = ..., ips: _Optional[_Iterable[bytes]] = ..., host: _Optional[str] = ..., vn: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("vni", "history", "version")
    VNI_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    vni: int
    history: bytes
    version: int
    def __init__(self, vni: _Optional[int] = ..., history: _Optional[bytes] = ..., version: _Optional[int] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("incarnation", "receive", "send", "attachments", "positions", "seen", "generation", "speaks")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENTS_FIELD_NUMBER: _ClassVar[int]
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    SPEAKS_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    receive: _containers.RepeatedCompositeFieldContainer[Held]
    send: _containers.RepeatedCompositeFieldContainer[Held]
    attachments: _containers.RepeatedCompositeFieldContainer[Attachment]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    seen: _containers.RepeatedCompositeFieldContainer[StoreMark]
    generation: int
    speaks: Speaks
    def __init__(self, incarnation: _Optional[bytes] = ..., receive: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., send: _Optional[_Iterable[_Union[Held, _Mapping]]] = ..., attachments: _Optional[_Iterable[_Union[Attachment, _Mapping]]] = ..., positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., seen: _Optional[_Iterable[_Union[StoreMark, _Mapping]]] = ..., generation: _Optional[int] = ..., speaks: _Optional[_Union[Speaks, _Mapping]] = ...) -> None: ...

class Term(_message.Message):
    __slots__ = ("kind", "name", "begins", "ends")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BEGINS_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    kind: TermKind
    name: str
    begins: float
    ends: float
    def __init__(self, kind: _Optional[_Union[TermKind, str]] = ..., name: _Optional[str] = ..., begins: _Optional[float] = ..., ends: _Optional[float] = ...) -> None: ...

class CredentialTerms(_message.Message):
    __slots__ = ("terms", "faults")
    TERMS_FIELD_NUMBER: _ClassVar[int]
    FAULTS_FIELD_NUMBER: _ClassVar[int]
    terms: _containers.RepeatedCompositeFieldContainer[Term]
    faults: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, terms: _Optional[_Iterable[_Union[Term, _Mapping]]] = ..., faults: _Optional[_Iterable[str]] = ...) -> None: ...

class ReadSa(_message.Message):
    __slots__ = ("peer", "suite", "spi")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    spi: int
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ...) -> None: ...

class ReadBack(_message.Message):
    __slots__ = ("incarnation", "receive", "send", "view")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    RECEIVE_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    receive: _containers.RepeatedCompositeFieldContainer[ReadSa]
    send: _containers.RepeatedCompositeFieldContainer[ReadSa]
    view: int
    def __init__(self, incarnation: _Optional[bytes] = ..., receive: _Optional[_Iterable[_Union[ReadSa, _Mapping]]] = ..., send: _Optional[_Iterable[_Union[ReadSa, _Mapping]]] = ..., view: _Optional[int] = ...) -> None: ...

class UsedSa(_message.Message):
    __slots__ = ("peer", "suite", "spi", "packets", "octets", "at_most")
    PEER_FIELD_NUMBER: _ClassVar[int]
    SUITE_FIELD_NUMBER: _ClassVar[int]
    SPI_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    OCTETS_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    peer: str
    suite: Suite
    spi: int
    packets: int
    octets: int
    at_most: bool
    def __init__(self, peer: _Optional[str] = ..., suite: _Optional[_Union[Suite, str]] = ..., spi: _Optional[int] = ..., packets: _Optional[int] = ..., octets: _Optional[int] = ..., at_most: bool = ...) -> None: ...

class Use(_message.Message):
    __slots__ = ("incarnation", "sent")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SENT_FIELD_NUMBER: _ClassVar[int]
    incarnation: bytes
    sent: _containers.RepeatedCompositeFieldContainer[UsedSa]
    def __init__(self, incarnation: _Optional[bytes] = ..., sent: _Optional[_Iterable[_Union[UsedSa, _Mapping]]] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("event", "detail")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    event: str
    detail: str
    def __init__(self, event: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("number", "json", "refusal")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    number: int
    json: str
    refusal: str
    def __init__(self, number: _Optional[int] = ..., json: _Optional[str] = ..., refusal: _Optional[str] = ...) -> None: ...

class RenewLeaseRequest(_message.Message):
    __slots__ = ("session", "seen")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEEN_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    seen: _containers.RepeatedCompositeFieldContainer[StoreMark]
    def __init__(self, session: _Optional[bytes] = ..., seen: _Optional[_Iterable[_Union[StoreMark, _Mapping]]] = ...) -> None: ...

class LeaseGrant(_message.Message):
    __slots__ = ("duration_s", "term", "version", "digest", "early")
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    TERM_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EARLY_FIELD_NUMBER: _ClassVar[int]
    duration_s: float
    term: int
    version: int
    digest: bytes
    early: bool
    def __init__(self, duration_s: _Optional[float] = ..., term: _Optional[int] = ..., version: _Optional[int] = ..., digest: _Optional[bytes] = ..., early: bool = ...) -> None: ...

class LookUpRequest(_message.Message):
    __slots__ = ("session", "vni", "mac", "ip")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VNI_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    IP_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    vni: int
    mac: int
    ip: bytes
    def __init__(self, session: _Optional[bytes] = ..., vni: _Optional[int] = ..., mac: _Optional[int] = ..., ip: _Optional[bytes] = ...) -> None: ...

class LookUpAnswer(_message.Message):
    __slots__ = ("result", "valid_s", "mac", "nve", "ips", "sequence")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    VALID_S_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    IPS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    result: LookupResult
    valid_s: float
    mac: int
    nve: str
    ips: _containers.RepeatedScalarFieldContainer[bytes]
    sequence: int
    def __init__(self, result: _Optional[_Union[LookupResult, str]] = ..., valid_s: _Optional[float] = ..., mac: _Optional[int] = ..., nve: _Optional[str] = ..., ips: _Optional[_Iterable[bytes]] = ..., sequence: _Optional[int] = ...) -> None: ...

class AttachRequest(_message.Message):
    __slots__ = ("session", "attachment", "is_sign", "again")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    ATTACHMENT_FIELD_NUMBER: _ClassVar[int]
    IS_SIGN_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    attachment: Attachment
    is_sign: bool
    again: bool
    def __init__(self, session: _Optional[bytes] = ..., attachment: _Optional[_Union[Attachment, _Mapping]] = ..., is_sign: bool = ..., again: bool = ...) -> None: ...

class DetachRequest(_message.Message):
    __slots__ = ("session", "port", "vlan", "vni", "mac", "successor", "host")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    VNI_FIELD_NUMBER: _ClassVar[int]
    MAC_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    port: int
    vlan: int
    vni: int
    mac: int
    successor: str
    host: str
    def __init__(self, session: _Optional[bytes] = ..., port: _Optional[int] = ..., vlan: _Optional[int] = ..., vni: _Optional[int] = ..., mac: _Optional[int] = ..., successor: _Optional[str] = ..., host: _Optional[str] = ...) -> None: ...

class MoveRequest(_message.Message):
    __slots__ = ("session", "port", "vlan", "to")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    session: bytes
    port: int
    vlan: int
    to: Attachment
    def __init__(self, session: _Optional[bytes] = ..., port: _Optional[int] = ..., vlan: _Optional[int] = ..., to: _Optional[_Union[Attachment, _Mapping]] = ...) -> None: ...

class AttachmentAnswer(_message.Message):
    __slots__ = ("standing", "reason")
    STANDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    standing: Standing
    reason: str
    def __init__(self, standing: _Optional[_Union[Standing, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ("wait_s",)
    WAIT_S_FIELD_NUMBER: _ClassVar[int]
    wait_s: float
    def __init__(self, wait_s: _Optional[float] = ...) -> None: ...

class CountersRequest(_message.Message):
    __slots__ = ("nve",)
    NVE_FIELD_NUMBER: _ClassVar[int]
    nve: str
    def __init__(self, nve: _Optional[str] = ...) -> None: ...

class ReconcileRequest(_message.Message):
    __slots__ = ("nve", "dry_run")
    NVE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    nve: str
    dry_run: bool
    def __init__(self, nve: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class RotateRequest(_message.Message):
    __slots__ = ("nves", "vn")
    NVES_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    nves: _containers.RepeatedScalarFieldContainer[str]
    vn: str
    def __init__(self, nves: _Optional[_Iterable[str]] = ..., vn: _Optional[str] = ...) -> None: ...

class KeyListRequest(_message.Message):
    __slots__ = ("nves", "vn")
    NVES_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    nves: _containers.RepeatedScalarFieldContainer[str]
    vn: str
    def __init__(self, nves: _Optional[_Iterable[str]] = ..., vn: _Optional[str] = ...) -> None: ...

class KeyAuditRequest(_message.Message):
    __slots__ = ("nve",)
    NVE_FIELD_NUMBER: _ClassVar[int]
    nve: str
    def __init__(self, nve: _Optional[str] = ...) -> None: ...

class RevokeRequest(_message.Message):
    __slots__ = ("nve",)
    NVE_FIELD_NUMBER: _ClassVar[int]
    nve: str
    def __init__(self, nve: _Optional[str] = ...) -> None: ...

class DomainShowRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DomainDiffRequest(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...

class DomainApplyRequest(_message.Message):
    __slots__ = ("text", "base")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    text: str
    base: str
    def __init__(self, text: _Optional[str] = ..., base: _Optional[str] = ...) -> None: ...

class VnListRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class VnShowRequest(_message.Message):
    __slots__ = ("vn",)
    VN_FIELD_NUMBER: _ClassVar[int]
    vn: str
    def __init__(self, vn: _Optional[str] = ...) -> None: ...

class MapListRequest(_message.Message):
    __slots__ = ("vn", "nve", "frozen", "limit")
    VN_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    vn: str
    nve: str
    frozen: bool
    limit: int
    def __init__(self, vn: _Optional[str] = ..., nve: _Optional[str] = ..., frozen: bool = ..., limit: _Optional[int] = ...) -> None: ...

class MapAdmitRequest(_message.Message):
    __slots__ = ("mac", "nve", "vn", "port", "vlan")
    MAC_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    mac: str
    nve: str
    vn: str
    port: int
    vlan: int
    def __init__(self, mac: _Optional[str] = ..., nve: _Optional[str] = ..., vn: _Optional[str] = ..., port: _Optional[int] = ..., vlan: _Optional[int] = ...) -> None: ...

class MapEvictRequest(_message.Message):
    __slots__ = ("mac", "nve", "vn", "port", "vlan", "successor")
    MAC_FIELD_NUMBER: _ClassVar[int]
    NVE_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    VLAN_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOR_FIELD_NUMBER: _ClassVar[int]
    mac: str
    nve: str
    vn: str
    port: int
    vlan: int
    successor: str
    def __init__(self, mac: _Optional[str] = ..., nve: _Optional[str] = ..., vn: _Optional[str] = ..., port: _Optional[int] = ..., vlan: _Optional[int] = ..., successor: _Optional[str] = ...) -> None: ...

class AuthzProbeRequest(_message.Message):
    __slots__ = ("device", "method", "vn")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    VN_FIELD_NUMBER: _ClassVar[int]
    device: str
    method: str
    vn: str
    def __init__(self, device: _Optional[str] = ..., method: _Optional[str] = ..., vn: _Optional[str] = ...) -> None: ...

class ResetMarksRequest(_message.Message):
    __slots__ = ("nve",)
    NVE_FIELD_NUMBER: _ClassVar[int]
    nve: str
    def __init__(self, nve: _Optional[str] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("json",)
    JSON_FIELD_NUMBER: _ClassVar[int]
    json: str
    def __init__(self, json: _Optional[str] = ...) -> None: ...
