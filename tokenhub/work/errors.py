"""What the workspace refuses, besides the roots of the tree (`kernel.errors`)."""

from tokenhub.kernel.errors import Conflict, NotFound


class TaskNotFound(NotFound):
    """No such task, or none that the caller may see."""

    code = "task_not_found"


class ChannelNotFound(NotFound):
    """No such channel, or none that the caller is in."""

    code = "channel_not_found"


class MessageNotFound(NotFound):
    """No such message, or none in a channel of the caller."""

    code = "message_not_found"


class DocNotFound(NotFound):
    """No such document, or none that the caller may see."""

    code = "doc_not_found"


class FileNotFound(NotFound):
    """No such file, or none that the caller may see."""

    code = "file_not_found"


class FormNotFound(NotFound):
    """No form of this id or name."""

    code = "form_not_found"


class RequestNotFound(NotFound):
    """No such request, or none that the caller made or decides."""

    code = "request_not_found"


class Outdated(Conflict):
    """Somebody changed it since it was read."""

    code = "outdated"
