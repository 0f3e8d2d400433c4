"""Azure Resource Manager: compute, network and resource groups, and the tokens for it."""
