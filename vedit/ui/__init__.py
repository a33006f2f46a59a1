"""The interactive editor: one page, in a browser or in a notebook; `protocol` says what it and we tell each
other.
"""
