# SPDX-License-Identifier: Apache-2.0
"""PTF platform: BMv2's simple_switch_grpc, started for this run."""

from __future__ import annotations

from harness.ptf_platform import use


def platform_config_update(config: dict) -> None:
    use("bmv2", config)
