"""Hosted video generators: one module per protocol.

A protocol module has

    SUMMARY   one line
    create    (service, order) -> the vendor's id of a new job
    poll      (service, id) -> State
    fetch     (service, id, file): the finished clip, written to the file
"""

from vedit.registry import Registry

_registry = Registry("vedit.remote", __path__, "vedit.remote", skip=("chat", "http", "jobs"))
names = _registry.names
has = _registry.has
load = _registry.load
summary = _registry.summary
