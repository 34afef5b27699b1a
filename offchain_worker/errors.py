"""Errors that reach a person.

Each package defines its own error types where the fault happens. What a command shows is one of
these: the message is one sentence that says what is wrong, where, and what to do.
"""

from __future__ import annotations


class UsageError(Exception):
    """The person's input cannot be used; the command ends with exit status 2.

    The message is shown as it is, without a traceback.
    """


class OperationError(Exception):
    """The command was right but could not be carried out; it ends with exit status 1.

    The message is shown as it is, without a traceback.
    """
