"""From what a clip shows and what should become of it to the prompt of an edit."""
