# SPDX-License-Identifier: Apache-2.0
"""What the NVA and the agent of an NVE say to each other (RFC 8014 section 4), as values, and its form. Pure."""
