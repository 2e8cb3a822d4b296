# SPDX-License-Identifier: Apache-2.0
"""The session between NVA and agents, and the operator's interface, over gRPC with mutual TLS 1.3.

    methods       every method: who may call it, about what, and how often
    nva           the NVA's side
    agent         the agent's side: a connector that `nve` can use
    operators     the operator's side
    credentials   a directory of credentials; addresses of NVAs

Which NVE speaks is decided by its certificate. No message names its sender.
"""
