/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_TUNNEL_PROTECTION
#define NVO3SEC_TUNNEL_PROTECTION

#include "arch.p4"
#include "sequence.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "flow_block.p4"
#include "../crypto/chaskey.p4"

/* One copy of a frame into one tunnel: SA, sequence number, encapsulation, ICV. It stands in egress, so that every replica
 * gets the key of its own tunnel. There is no unprotected way out. */
control TunnelProtection(inout headers_t hdr, inout metadata_t meta, in bit<1> egress_agrees, in port_t egress_port,
                         in time_us_t now) {
    ChaskeyIcv() chaskey_icv;
    ChaskeyHash() flow_hash;
    FlowBlock() flow_block;
    SEQUENCE(sequence);
    DIRECT_COUNTER(sa_tx_use);

    key128_t entropy_key;
    bit<1> entropy_keyed;
    bit<128> flow;
    sequence_t next_sequence;
    bit<16> mtu;
    bit<128> icv;

    /* underlay_mtu: largest IPv4 packet that the underlay carries towards this peer, bytes. */
    @id(ACTION_TUNNEL_ENCAPSULATE)
    action encapsulate(@id(1) mac_t source_mac, @id(2) mac_t next_hop_mac, @id(3) ipv4_t source,
                       @id(4) ipv4_t destination, @id(5) bit<16> underlay_mtu) {
        hdr.ethernet.setValid();
        hdr.ethernet.dst = next_hop_mac;
        hdr.ethernet.src = source_mac;
        hdr.ethernet.ether_type = ETHERTYPE_IPV4;
        hdr.ipv4.setValid();
        hdr.ipv4.version_ihl = IPV4_VERSION_IHL;
        hdr.ipv4.dscp = 0;
        hdr.ipv4.ecn = 0;
        hdr.ipv4.total_length = meta.frame_length + IPV4_OVERHEAD;
        hdr.ipv4.identification = 0;
        hdr.ipv4.reserved = 0;
        hdr.ipv4.dont_fragment = 1;
        hdr.ipv4.more_fragments = 0;
        hdr.ipv4.fragment_offset = 0;
        hdr.ipv4.ttl = IPV4_TTL;
        hdr.ipv4.protocol = IP_PROTOCOL_UDP;
        hdr.ipv4.src = source;
        hdr.ipv4.dst = destination;
        mtu = underlay_mtu;
    }

    @id(ACTION_TUNNEL_UNKNOWN)
    action unknown_tunnel() {
        meta.drop_reason = drop_reason_t.TUNNEL_UNKNOWN;
    }

    @name("tunnel") @id(TABLE_TUNNEL)
    table tunnel {
        key = {
            egress_port: exact @name("port");
            meta.egress_interface: exact @name("interface");
        }
        actions = { encapsulate; @defaultonly unknown_tunnel; }
        const default_action = unknown_tunnel();
        size = TUNNEL_SIZE;
    }

    /* The SA and the next sequence number are taken in one action. The number counts up for the tunnel, whatever its key:
     * it starts at 1 in each incarnation and never goes back within one. 2^64 numbers do not run out. */
    @id(ACTION_SA_TX_PROTECT)
    action protect(@id(1) bit<8> suite, @id(2) key128_t key, @id(3) spi_t spi, @id(4) time_us_t not_after,
                   @id(5) incarnation_t incarnation) {
        SEQUENCE_NEXT(sequence, meta.egress_interface, next_sequence);
        meta.sa_tx.suite = suite;
        meta.sa_tx.key = key;
        meta.sa_tx.spi = spi;
        meta.sa_tx.sequence = next_sequence;
        meta.sa_tx.not_after = not_after;
        meta.sa_tx.incarnation = incarnation;
    }

    @id(ACTION_NO_SA_TX)
    action no_sa_tx() {
        meta.drop_reason = drop_reason_t.TX_NO_SA;
    }

    @name("sa_tx") @id(TABLE_SA_TX)
    table sa_tx {
        key = {
            meta.egress_interface: exact @name("interface");
            meta.level: exact @name("level");
        }
        actions = { protect; @defaultonly no_sa_tx; }
        const default_action = no_sa_tx();
        COUNTED_BY(sa_tx_use);
        size = SA_SIZE;
    }

    @id(ACTION_FLOW_ENTROPY_KEYED)
    action keyed(@id(1) key128_t key) {
        entropy_key = key;
        entropy_keyed = 1;
    }

    @id(ACTION_FLOW_ENTROPY_NONE)
    action not_keyed() {
        entropy_key = 0;
        entropy_keyed = 0;
    }

    /* Without a key the source port is constant: less spreading, but nothing of the tenant's flows shows. */
    @name("flow_entropy") @id(TABLE_FLOW_ENTROPY)
    table flow_entropy {
        actions = { keyed; not_keyed; }
        default_action = not_keyed();
    }

    action add_geneve(bit<16> flow_bits) {
        hdr.udp.setValid();
        hdr.udp.src_port = 2w3 ++ flow_bits[13:0];
        hdr.udp.dst_port = UDP_PORT_GENEVE;
        hdr.udp.length = meta.frame_length + UDP_OVERHEAD;
        hdr.udp.checksum = 0;
        hdr.geneve.setValid();
        hdr.geneve.version = 0;
        hdr.geneve.option_words = GENEVE_OPTION_WORDS;
        hdr.geneve.oam = 0;
        hdr.geneve.critical = 1;
        hdr.geneve.reserved1 = 0;
        hdr.geneve.protocol = GENEVE_PROTOCOL_ETHERNET;
        hdr.geneve.vni = meta.vni;
        hdr.geneve.reserved2 = 0;
        hdr.protection.setValid();
        hdr.protection.option_class = OPTION_CLASS;
        hdr.protection.option_type = OPTION_TYPE;
        hdr.protection.reserved = 0;
        hdr.protection.data_words = OPTION_DATA_WORDS;
        hdr.protection.spi = meta.sa_tx.spi;
        hdr.protection.sequence = meta.sa_tx.sequence;
        hdr.protection.coverage = meta.frame_length;
        hdr.protection.suite = meta.sa_tx.suite;
        hdr.protection.flags = 0;
    }

    action copy_ecn(bit<2> inner_ecn) {
        hdr.ipv4.ecn = inner_ecn;
    }

    action report_sequence() {
        SEQUENCE_LAST(sequence, meta.egress_interface, meta.sa_tx.sequence);
    }

    apply {
        mtu = 0;
        if (meta.punt == 1) {
            report_sequence();
        } else if ((meta.self.incarnation_agrees & egress_agrees) != 1) {
            meta.drop_reason = drop_reason_t.TX_INCARNATION;
        } else if (meta.self.lease_granted != 1) {
            meta.drop_reason = drop_reason_t.TX_LEASE_ABSENT;
        } else if (now >= meta.self.lease_not_after) {
            meta.drop_reason = drop_reason_t.TX_LEASE_EXPIRED;
        } else if (tunnel.apply().hit) {
            if (hdr.ipv4.total_length > mtu) {
                meta.drop_reason = drop_reason_t.TUNNEL_MTU;
            } else if (sa_tx.apply().hit) {
                if (meta.sa_tx.incarnation != meta.self.incarnation) {
                    meta.drop_reason = drop_reason_t.TX_SA_INCARNATION;
                } else if (now >= meta.sa_tx.not_after) {
                    meta.drop_reason = drop_reason_t.TX_SA_EXPIRED;
                } else if (meta.sa_tx.suite < meta.level) {
                    meta.drop_reason = drop_reason_t.TX_SUITE_TOO_WEAK;
                } else if (meta.sa_tx.suite != SUITE_CHASKEY12) {
                    meta.drop_reason = drop_reason_t.TX_SUITE_UNSUPPORTED;
                } else {
                    bit<16> flow_bits = 0;
                    flow_entropy.apply();
                    if (entropy_keyed == 1) {
                        flow_block.apply(hdr, meta, flow);
                        flow_hash.apply(entropy_key, flow, flow_bits);
                    }
                    if (hdr.frame_type.ether_type == ETHERTYPE_IPV4) {
                        copy_ecn(hdr.frame_type.first[1:0]);
                    } else if (hdr.frame_type.ether_type == ETHERTYPE_IPV6) {
                        copy_ecn(hdr.frame_type.first[5:4]);
                    }
                    add_geneve(flow_bits);
                    chaskey_icv.apply(hdr, meta.sa_tx.key, meta.frame_length, icv);
                    hdr.protection.icv = icv;
                }
            }
        }
    }
}

#endif
