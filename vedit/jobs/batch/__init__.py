"""Many edits: what is asked for row by row, what is done already, and who does the rest."""
