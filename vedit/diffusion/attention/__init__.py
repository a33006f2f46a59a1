"""One attention-control engine: find sites, capture and inject at them, restore the model."""
