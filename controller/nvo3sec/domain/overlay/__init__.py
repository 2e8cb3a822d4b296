# SPDX-License-Identifier: Apache-2.0
"""The overlay as it is configured: who and what there is, under which names and addresses. Pure."""
