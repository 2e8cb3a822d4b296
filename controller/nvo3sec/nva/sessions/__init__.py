# SPDX-License-Identifier: Apache-2.0
"""Agents that have a session, or are about to: their streams, what each was told, who comes twice or too early."""
