"""What a run shows: values in, lines out."""
