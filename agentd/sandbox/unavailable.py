"""Why there is no view, or a command cannot be given to one."""


class Unavailable(Exception):
    """There is no view. `code` is stable."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
