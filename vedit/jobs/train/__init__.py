"""Train the embedded models, and generators on folders of clips."""
