"""The command line: words become a request, and a request a result or one line that refuses it.

It knows no array and no file format; what it starts is in the rest of `sweeps`.
"""
