# SPDX-License-Identifier: Apache-2.0
"""Keys: how they are named, derived, replaced and used up, and what makes one end. Pure."""
