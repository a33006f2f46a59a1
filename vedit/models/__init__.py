"""Model families: what the engine asks of a model, and one folder for each family that answers."""
