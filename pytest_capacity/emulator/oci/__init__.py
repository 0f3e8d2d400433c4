"""OCI's wire: identity, compute, network and work requests, with requests that are signed as Oracle signs them."""
