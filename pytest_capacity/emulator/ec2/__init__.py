"""The wire of EC2 (and of STS): moto's base, and on it what moto lacks, decided by the World."""
