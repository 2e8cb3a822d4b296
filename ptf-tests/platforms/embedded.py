# SPDX-License-Identifier: Apache-2.0
"""PTF platform: the embedded switch, started for this run."""

from harness.ptf_platform import use


def platform_config_update(config: dict) -> None:
    use("embedded", config)
