/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_BRIDGING
#define NVO3SEC_BRIDGING

#include "arch.p4"
#include "headers.p4"
#include "ids.p4"
#include "metadata.p4"
#include "arp_answer.p4"
#include "nd_answer.p4"
#include "announcement_view.p4"
#include "storm_control.p4"

/* Where a frame of a VN goes: answered from the neighbor table, to one interface, replicated, or to the agent. */
control Bridging(inout headers_t hdr, inout metadata_t meta, in port_t ingress_port) {
    ArpAnswer() arp_answer;
    NdAnswer() nd_answer;
    AnnouncementView() announcement_view;
    StormControl() storm_control;
    @name(".punt_rate") DIRECT_METER(punt_rate);
    @name(".vn_flood_rate") DIRECT_METER(vn_flood_rate);
    mac_t neighbor_mac;
    bit<1> is_metered;
    bit<16> longest;   /* frame that its tunnel carries, bytes */

    @name(".answer") @id(ACTION_NEIGHBOR_ANSWER)
    action answer(@id(1) mac_t mac) {
        neighbor_mac = mac;
    }

    @name(".unknown_neighbor") @id(ACTION_NEIGHBOR_UNKNOWN)
    action unknown_neighbor() {
        meta.punt = 1;
        meta.punt_reason = punt_reason_t.UNKNOWN_NEIGHBOR;
    }

    @name(".neighbor") @id(TABLE_NEIGHBOR)
    table neighbor {
        key = {
            meta.vni: exact @name("vni");
            meta.inner.arp_target_ip: exact @name("ip");
        }
        actions = { answer; @defaultonly unknown_neighbor; }
        const default_action = unknown_neighbor();
        size = NEIGHBOR_SIZE;
    }

    @name(".answer_ipv6") @id(ACTION_NEIGHBOR_IPV6_ANSWER)
    action answer_ipv6(@id(1) mac_t mac) {
        neighbor_mac = mac;
    }

    @name(".unknown_neighbor_ipv6") @id(ACTION_NEIGHBOR_IPV6_UNKNOWN)
    action unknown_neighbor_ipv6() {
        meta.punt = 1;
        meta.punt_reason = punt_reason_t.UNKNOWN_NEIGHBOR;
    }

    @name(".neighbor_ipv6") @id(TABLE_NEIGHBOR_IPV6)
    table neighbor_ipv6 {
        key = {
            meta.vni: exact @name("vni");
            meta.inner.nd_target_ip: exact @name("ip");
        }
        actions = { answer_ipv6; @defaultonly unknown_neighbor_ipv6; }
        const default_action = unknown_neighbor_ipv6();
        size = NEIGHBOR_SIZE;
    }

    action send_back() {
        meta.egress_port = ingress_port;
        meta.egress_interface = meta.ingress_interface;
        meta.hairpin = 1;
    }

    @name(".to_vap") @id(ACTION_BRIDGE_TO_VAP)
    action to_vap(@id(1) port_t port, @id(2) interface_t interface) {
        meta.egress_port = port;
        meta.egress_interface = interface;
    }

    @name(".to_tunnel") @id(ACTION_BRIDGE_TO_TUNNEL)
    action to_tunnel(@id(1) interface_t interface) {
        meta.egress_interface = interface;
    }

    @name(".unknown_destination") @id(ACTION_BRIDGE_UNKNOWN)
    action unknown_destination() {
        meta.punt = 1;
        meta.punt_reason = punt_reason_t.UNKNOWN_DESTINATION;
    }

    /* Local systems stand under both values of from_underlay, remote ones under 0: a frame from a tunnel finds no tunnel. */
    @name(".bridge") @id(TABLE_BRIDGE)
    table bridge {
        key = {
            meta.vni: exact @name("vni");
            hdr.addresses.dst: exact @name("mac");
            meta.port_is_underlay: exact @name("from_underlay");
        }
        actions = { to_vap; to_tunnel; @defaultonly unknown_destination; }
        const default_action = unknown_destination();
        size = BRIDGE_SIZE;
    }

    @name(".replicate") @id(ACTION_FLOOD_REPLICATE)
    action replicate(@id(1) bit<16> group) {
        METER_READ(vn_flood_rate, meta.colour);
        meta.multicast_group = group;
    }

    @name(".no_group") @id(ACTION_FLOOD_NO_GROUP)
    action no_group() {
        meta.drop_reason = drop_reason_t.NO_FLOOD_GROUP;
    }

    /* Frames from the underlay have a replication list of their own, without tunnels, and a meter of their own. */
    @name(".flood") @id(TABLE_FLOOD)
    table flood {
        key = {
            meta.vni: exact @name("vni");
            meta.port_is_underlay: exact @name("from_underlay");
        }
        actions = { replicate; @defaultonly no_group; }
        const default_action = no_group();
        METERED_BY(vn_flood_rate);
        size = FLOOD_SIZE;
    }

    /* group: the ports and hops towards this peer. frame_limit: largest inner frame that the path carries, bytes; 0xFFFF: not
     * known, and nothing is longer. */
    @name(".spread") @id(ACTION_TUNNEL_ROUTE_SPREAD)
    action spread(@id(1) bit<16> group, @id(2) bit<16> frame_limit) {
        meta.underlay_group = group;
        longest = frame_limit;
    }

    @name(".no_route") @id(ACTION_TUNNEL_NO_ROUTE)
    action no_route() {
        meta.drop_reason = drop_reason_t.NO_TUNNEL_ROUTE;
    }

    @name(".tunnel_route") @id(TABLE_TUNNEL_ROUTE)
    table tunnel_route {
        key = { meta.egress_interface: exact @name("interface"); }
        actions = { spread; @defaultonly no_route; }
        const default_action = no_route();
        size = TUNNEL_SIZE;
    }

    @name(".police_punt") @id(ACTION_PUNT_POLICE)
    action police_punt() {
        METER_READ(punt_rate, meta.colour);
    }

    @name(".forbid_punt") @id(ACTION_PUNT_FORBIDDEN)
    action forbid_punt() {
        is_metered = 0;
    }

    /* A meter for each VAP, so that one tenant cannot use up another's share of the agent. */
    @name(".punt_meter") @id(TABLE_PUNT_METER)
    table punt_meter {
        key = { meta.ingress_interface: exact @name("interface"); }
        actions = { police_punt; @defaultonly forbid_punt; }
        const default_action = forbid_punt();
        METERED_BY(punt_rate);
        size = PUNT_METER_SIZE;
    }

    /* group: that of the flood, and the agent (port PORT_CPU, interface INTERFACE_AGENT). */
    @name(".tell") @id(ACTION_ANNOUNCEMENT_TELL)
    action tell(@id(1) bit<16> group) {
        meta.multicast_group = group;
    }

    @name(".flood_only") @id(ACTION_ANNOUNCEMENT_FLOOD_ONLY)
    action flood_only() {}

    /* Without an entry an announcement is flooded like any other frame. */
    @name(".announcement") @id(TABLE_ANNOUNCEMENT)
    table announcement {
        key = { meta.vni: exact @name("vni"); }
        actions = { tell; @defaultonly flood_only; }
        const default_action = flood_only();
        size = ANNOUNCEMENT_SIZE;
    }

    apply {
        neighbor_mac = 0;
        is_metered = 1;
        longest = 0;
        if (meta.refused == 1) {
            /* It goes to the agent or nowhere. */
            meta.punt = 1;
            meta.punt_reason = punt_reason_t.REFUSED_ANNOUNCEMENT;
        } else if (hdr.addresses.src[40:40] == 1) {
            meta.drop_reason = drop_reason_t.SOURCE_ADDRESS;
        } else if (hdr.addresses.dst[47:4] == RESERVED_GROUPS) {
            meta.drop_reason = drop_reason_t.RESERVED_ADDRESS;
        } else {
            /* Questions to a group are answered here. Whether a known neighbor is still there, only the neighbor can say: such
             * questions are unicast, and reach it (RFC 1122 2.3.2.1, RFC 4861 7.3). */
            if (meta.port_is_underlay == 0 && hdr.addresses.dst[40:40] == 1) {
                if (meta.inner.ip_kind == IP_KIND_ARP
                    && meta.inner.arp_operation == ARP_REQUEST   /* a question, not a probe or an announcement */
                    && meta.inner.source_ip[31:0] != meta.inner.arp_target_ip) {
                    if (neighbor.apply().hit) {
                        arp_answer.apply(hdr, meta, neighbor_mac);
                        send_back();
                    }
                } else if (meta.inner.nd_type == ND_NEIGHBOR_SOLICITATION && meta.inner.nd_probe == 0
                           && meta.frame_length == IPV6_HEADERS_LENGTH + ND_LENGTH_WITH_OPTION) {
                    /* Duplicate address detection is flooded, so that the owner of the address can object; and a question for
                     * an address of this link that nobody has stated, since nobody but its owner knows it. */
                    if (neighbor_ipv6.apply().hit) {
                        nd_answer.apply(hdr, meta, neighbor_mac);
                        send_back();
                    } else if (meta.inner.nd_target_ip[127:64] == LINK_LOCAL) {
                        meta.punt = 0;
                    }
                }
            }
            if (meta.hairpin == 0 && meta.punt == 0) {
                if (hdr.addresses.dst[40:40] == 1) {
                    if (meta.port_is_underlay == 0) {
                        storm_control.apply(meta);
                    }
                    if (meta.drop_reason == drop_reason_t.NONE) {
                        flood.apply();
                        if (meta.colour == COLOUR_RED) {
                            meta.drop_reason = drop_reason_t.VN_FLOOD_RATE;
                        } else if (meta.announcer == 1) {
                            announcement_view.apply(hdr, meta);
                        }
                    }
                } else if (bridge.apply().hit) {
                    if (meta.egress_interface & INTERFACE_TUNNEL != 0) {
                        if (meta.port_is_underlay == 1) {
                            meta.drop_reason = drop_reason_t.TUNNEL_TO_TUNNEL;
                        } else {
                            if (tunnel_route.apply().hit) {
                                if (meta.frame_length > longest) {
                                    /* Its sender is told by the agent (RFC 1191, RFC 8201). It is refused in any case. */
                                    meta.punt = 1;
                                    meta.punt_reason = punt_reason_t.FRAME_TOO_BIG;
                                    meta.drop_reason = drop_reason_t.FRAME_TOO_BIG;
                                }
                            }
                        }
                    }
                }
            }
        }
        if (meta.punt == 1 && meta.port_is_underlay == 1) {
            meta.drop_reason = drop_reason_t.UNKNOWN_DESTINATION;
        } else if (meta.punt == 1 || meta.announcement == 1) {
            punt_meter.apply();
            if (meta.announcement == 1) {
                /* Tenants hear it in any case. */
                if (is_metered == 0 || meta.colour == COLOUR_RED) {
                    meta.announcement_untold = 1;
                } else {
                    announcement.apply();
                }
            } else if (meta.drop_reason != drop_reason_t.NONE) {
                /* Refused, which ingress counts in any case: to the agent, or nowhere. */
                if (is_metered == 1 && meta.colour != COLOUR_RED) {
                    meta.drop_reason = drop_reason_t.NONE;
                }
            } else if (is_metered == 0) {
                meta.drop_reason = drop_reason_t.PUNT_FORBIDDEN;
            } else if (meta.colour == COLOUR_RED) {
                meta.drop_reason = drop_reason_t.PUNT_RATE;
            }
        }
    }
}

#endif
