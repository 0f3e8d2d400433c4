"""Microsoft Azure: capacity reservation groups, their reservations, and virtual machines.

The management libraries of Azure (azure-mgmt-compute, -network, -resource) take 23 MB on disk and the network one alone
300 MB of memory for four calls. Resource Manager is called
directly: what is used of the libraries is their transport and their credentials: azure-core and
azure-identity. Paths, API versions and bodies are our own, and tests hold them against the models of those libraries.
"""

from __future__ import annotations

from pytest_capacity.backends.azure.provider import AzureProvider

__all__ = ["PROVIDER", "AzureProvider"]

PROVIDER = AzureProvider()
