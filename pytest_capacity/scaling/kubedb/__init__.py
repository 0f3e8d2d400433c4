"""KubeDB: databases on Kubernetes, changed by operation requests and provisioned for a run (extra ``[kubedb]``)."""
