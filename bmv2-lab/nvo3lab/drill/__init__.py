# SPDX-License-Identifier: Apache-2.0
"""The attack drill: the attackers of section 4 of the requirements draft, on the wire, against a running lab."""
