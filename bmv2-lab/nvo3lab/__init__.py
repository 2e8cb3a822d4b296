# SPDX-License-Identifier: Apache-2.0
"""The lab: three NVEs, two tenants, the wires between them, and the attackers of section 4 of the requirements draft.

It knows the processes and the wires between them by their command lines only, never their code: what holds here
holds for whoever starts the same processes with the same arguments.
"""
