"""CREATE: data, training, evaluation, registry of models."""
