/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of the wire, with their source, and what the program adds to them. Lengths are in bytes. */
#ifndef NVO3SEC_CONSTANTS
#define NVO3SEC_CONSTANTS

#include "sizes.p4"

const bit<16> ETHERTYPE_FIRST = 0x0600;  /* below are lengths (IEEE 802.3) */
const bit<16> ETHERTYPE_IPV4 = 0x0800;
const bit<16> ETHERTYPE_ARP = 0x0806;
const bit<16> ETHERTYPE_IPV6 = 0x86DD;
const bit<16> ETHERTYPE_CTAG = 0x8100;  /* IEEE 802.1Q */
const bit<16> ETHERTYPE_STAG = 0x88A8;  /* IEEE 802.1ad */
/* What an attached system could take for one of these, or what carries whole frames or packets (IEEE 802 numbers, IANA). */
const bit<16> ETHERTYPE_CHAOS = 0x0804;
const bit<16> ETHERTYPE_FRAME_RELAY_ARP = 0x0808;
const bit<16> ETHERTYPE_TRAILERS = 0x1000;      /* to 0x10FF (RFC 893) */
const bit<16> ETHERTYPE_BRIDGED = 0x6558;
const bit<16> ETHERTYPE_RARP = 0x8035;          /* RFC 903 */
const bit<16> ETHERTYPE_ITAG = 0x88E7;          /* IEEE 802.1ah */
const bit<16> ETHERTYPE_ETAG = 0x893F;          /* IEEE 802.1BR */
const bit<16> ETHERTYPE_OLD_STAG = 0x9100;      /* before IEEE 802.1ad */
const bit<16> ETHERTYPE_OLD_STAG_2 = 0x9200;
const bit<16> ETHERTYPE_OLD_STAG_3 = 0x9300;
const bit<16> LLC_IP = 0x0606;          /* SAPs (IEEE 802.2, RFC 1340) */
const bit<16> LLC_ARP = 0x9898;
const bit<16> LLC_SNAP = 0xAAAA;
const bit<16> LLC_COMMANDS = 0xFEFE;    /* mask: to a group or to one, command or response */
const bit<32> SNAP_RFC1042 = 0x03000000;        /* unnumbered information, OUI */
const bit<32> SNAP_BRIDGE = 0x030000F8;         /* IEEE 802.1H */
const bit<48> SNAP = 0xEFFFFFFFFFFF;            /* mask: polled or not */
const bit<48> SNAP_GROUP = 0xEFFFFFFFFF00;
const bit<44> RESERVED_GROUPS = 0x0180C200000;  /* first 44 bits of the 16 that no bridge forwards (IEEE 802.1Q 8.6.3) */

const bit<8> IPV4_VERSION_IHL = 0x45;   /* no options (RFC 791) */
const bit<8> IPV4_TTL = 64;
const bit<4> IPV6_VERSION = 6;          /* RFC 8200 3 */
const bit<8> IPV6_HOP_LIMIT = 64;
const bit<8> IPV6_GROUP = 0xFF;         /* first byte of a multicast address (RFC 4291 2.7) */
const bit<8> IP_PROTOCOL_ICMP = 1;
const bit<8> ICMP_REDIRECT = 5;         /* RFC 792 */
const bit<8> ICMP_ROUTER_ADVERTISEMENT = 9;  /* RFC 1256 */
const bit<8> IP_PROTOCOL_TCP = 6;
const bit<8> IP_PROTOCOL_UDP = 17;
const bit<8> IP_PROTOCOL_VRRP = 112;    /* RFC 9568 5.1; as the next header too */
const bit<8> VRRP_TTL = 255;            /* and hop limit */
const bit<32> VRRP_GROUP = 0xE0000012;  /* 224.0.0.18 */
const bit<128> VRRP_GROUP_IPV6 = 0xFF020000000000000000000000000012;
const bit<8> IP_PROTOCOL_SCTP = 132;
const bit<6> DSCP_DEFAULT = 0;          /* RFC 2474 4.1 */
const bit<2> ECN_NOT_ECT = 0;           /* RFC 3168 */
const bit<2> ECN_ECT1 = 1;
const bit<2> ECN_ECT0 = 2;
const bit<2> ECN_CE = 3;

const bit<16> ARP_HTYPE_ETHERNET = 1;   /* RFC 826 */
const bit<16> ARP_HLEN_PLEN = 0x0604;
const bit<16> ARP_REQUEST = 1;
const bit<16> ARP_REPLY = 2;

const bit<8> NEXT_HEADER_HOP_BY_HOP = 0;  /* RFC 8200 4 */
const bit<8> NEXT_HEADER_ROUTING = 43;
const bit<8> NEXT_HEADER_FRAGMENT = 44;
const bit<8> NEXT_HEADER_AUTHENTICATION = 51;
const bit<8> NEXT_HEADER_DESTINATION = 60;
const bit<8> NEXT_HEADER_ICMPV6 = 58;
const bit<8> NEXT_HEADER_NONE = 59;
const bit<8> NEXT_IS_OPTION = 255;      /* reserved (IANA): an option of neighbor discovery comes next, no header */
const bit<8> ND_HOP_LIMIT = 255;        /* RFC 4861 7.1 */
const bit<8> ND_ROUTER_SOLICITATION = 133;
const bit<8> ND_ROUTER_ADVERTISEMENT = 134;
const bit<8> ND_NEIGHBOR_SOLICITATION = 135;
const bit<8> ND_NEIGHBOR_ADVERTISEMENT = 136;
const bit<8> ND_REDIRECT = 137;
const bit<8> ND_HIDDEN = 255;           /* no type of it: where it must not be */
const bit<16> ND_SOLICITED_OVERRIDE = 0x6000;  /* flags of an answer (RFC 4861 4.4) */
const bit<16> ND_SOURCE_LINK_LAYER = 0x0101;  /* option type 1, length 1 (RFC 4861 4.6.1) */
const bit<16> ND_TARGET_LINK_LAYER = 0x0201;
const bit<16> ND_LENGTH_WITH_OPTION = 32;   /* solicitation or advertisement with one option of 8, behind the IPv6 header */
const bit<16> ND_LENGTH = 24;           /* without options */
const bit<16> ND_ROUTER_LENGTH = 8;     /* router solicitation without options */
const bit<64> LINK_LOCAL = 0xFE80000000000000;  /* RFC 4291 2.5.6 */
const bit<16> IPV6_HEADERS_LENGTH = 54; /* Ethernet and IPv6 */

/* What a source may be besides a host, as `permit_service` says it. */
const bit<8> SERVICE_ANNOUNCER = 1;     /* it shares addresses with others */
const bit<8> SERVICE_ROUTER = 2;        /* router advertisements, redirects */
const bit<8> SERVICE_DHCP_SERVER = 4;   /* servers and relays of DHCP and DHCPv6 */

const bit<16> UDP_PORT_DHCP_SERVER = 67;    /* RFC 2131 4.1 */
const bit<16> UDP_PORT_DHCP_CLIENT = 68;
const bit<16> UDP_PORT_DHCPV6_SERVER = 547; /* RFC 8415 7.2 */
const bit<16> UDP_PORT_DHCPV6_CLIENT = 546;
const bit<16> UDP_PORT_GENEVE = 6081;   /* RFC 8926 3.3 */
const bit<16> UDP_PORT_BFD = 3784;      /* RFC 5881 4 */
const bit<16> UDP_PORT_BFD_MULTIHOP = 4784;  /* RFC 5883 5 */
const bit<8> BFD_TTL = 255;             /* RFC 5881 5 */
const bit<16> TCP_PORT_BGP = 179;       /* RFC 4271 */
const bit<16> ETHERTYPE_LLDP = 0x88CC;  /* IEEE 802.1AB */
const bit<16> GENEVE_PROTOCOL_ETHERNET = 0x6558;
const bit<6> GENEVE_OPTION_WORDS = 9;   /* this option and no other */

/* The protection option (docs/wire-format.md). */
const bit<16> OPTION_CLASS = 0xFF01;    /* experimental (RFC 8926 7) */
const bit<8> OPTION_TYPE = 0x81;        /* top bit: critical */
const bit<5> OPTION_DATA_WORDS = 8;

/* Levels of protection. A VN that demands one accepts every greater one. What is written into entries is compared; the numbers
 * of suites are compared with nothing but each other. */
const bit<8> LEVEL_INTEGRITY = 1;
const bit<8> LEVEL_CONFIDENTIALITY = 2; /* and integrity */

const bit<8> SUITE_CHASKEY12 = 1;       /* integrity; crypto/chaskey.p4 */
const bit<8> SUITE_ASCON_AEAD128 = 2;   /* confidentiality; crypto/ascon.p4 */

/* Domain separation of the last header word of suite 1. */
const bit<16> ICV_DOMAIN = 0x4E33;

const bit<16> ETHERNET_LENGTH = 14;
const bit<16> VLAN_TAG_LENGTH = 4;
const bit<16> IPV4_LENGTH = 20;
const bit<16> IPV6_LENGTH = 40;
const bit<16> UDP_LENGTH = 8;
const bit<16> GENEVE_LENGTH = 8;
const bit<16> OPTION_LENGTH = 36;
const bit<16> FRAME_HEAD_LENGTH = 16;   /* addresses, type, and the two bytes that complete a cipher block */
const bit<16> FRAME_LIMIT = FRAME_HEAD_LENGTH + 16 * (FRAME_BLOCKS + 1);  /* first length that is too long */

/* How long a peer that has sent too much that does not verify is held to its floor, microseconds. */
const bit<48> PENALTY_US = 10000000;

/* ::ffff:0:0/96 (RFC 4291 2.5.5.2): an IPv4 address where a table has room for IPv6. */
const bit<96> IPV4_MAPPED = 0xFFFF;

/* The overhead of protection, computed here and nowhere else: from an inner frame to ... */
const bit<16> UDP_OVERHEAD = UDP_LENGTH + GENEVE_LENGTH + OPTION_LENGTH;  /* ... the UDP length: 52 */
const bit<16> IPV4_OVERHEAD = IPV4_LENGTH + UDP_OVERHEAD;                 /* ... the IPv4 total length: 72 */
const bit<16> IPV6_OVERHEAD = IPV6_LENGTH + UDP_OVERHEAD;                 /* ... the length of the IPv6 packet: 92 */

/* A packet-in carries at most this much of the frame: enough for every header that an agent acts on. */
const bit<16> PUNT_FRAME_LENGTH = 128;

#endif
