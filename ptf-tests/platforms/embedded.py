# SPDX-License-Identifier: Apache-2.0
"""PTF platform: the embedded switch, started for this run."""

from __future__ import annotations

from harness.ptf_platform import use


def platform_config_update(config: dict) -> None:
    use("embedded", config)
