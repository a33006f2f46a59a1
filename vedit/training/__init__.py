"""Training: one resumable loop, and what each model needs to go through it."""
