/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NVO3SEC_FRAME_TAIL
#define NVO3SEC_FRAME_TAIL

#include "headers.p4"

/* What of a frame is behind its last full block, its first byte the most significant one, and zeros behind its last. length: its
 * bytes, 0 to 15, which say what of the tail's headers there is: one that is not would show bytes of an earlier packet. */
control FrameTail(in headers_t hdr, in bit<8> length, out bit<128> tail) {
    action place() {
        tail = tail << (8 * (16 - length));
    }

    apply {
        tail = 0;
        if (length[3:3] == 1) { tail = (bit<128>)hdr.tail8.data; }
        if (length[2:2] == 1) { tail = (tail << 32) | (bit<128>)hdr.tail4.data; }
        if (length[1:1] == 1) { tail = (tail << 16) | (bit<128>)hdr.tail2.data; }
        if (length[0:0] == 1) { tail = (tail << 8) | (bit<128>)hdr.tail1.data; }
        place();
    }
}

#endif
