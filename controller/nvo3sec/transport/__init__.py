# SPDX-License-Identifier: Apache-2.0
"""The session between NVA and agents, and the operator's interface, over gRPC with mutual TLS 1.3.

    methods           every method: who may call it, about what, and how often
    session_server    the NVA's side of sessions
    session_client    the agent's side of a session: a connector that `nve` can use
    early_sessions    sessions that come while the NVA is loading
    inbox             what an NVA has sent an agent, until the agent takes it
    operator_server   the NVA's side to operators
    operator_client   the operator's side
    ended             what is said of a call whose connection has ended
    credentials       a directory of credentials; addresses of NVAs

Which NVE speaks is decided by its certificate. No message names its sender.
"""
