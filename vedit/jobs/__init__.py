"""One package per job: what the command line does, callable from Python.

A request says what is asked for, as plain values. Its plan has been checked, and can be printed and run. A
job in the plan is what the request came to: defaults filled in, parameters and sizes known. A sink hears of
the work, and a record keeps what was done. A take is one clip of several that a generator is asked for.
"""
