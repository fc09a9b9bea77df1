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


class EventNotFound(NotFound):
    """No such event, or none that the caller may see."""

    code = "event_not_found"


class RoomNotFound(NotFound):
    """No room of this id or name."""

    code = "room_not_found"


class ReportNotFound(NotFound):
    """No such report, or none that the caller wrote or reads."""

    code = "report_not_found"


class HookNotFound(NotFound):
    """No such hook, or none that the caller may use."""

    code = "hook_not_found"


class OutboxNotFound(NotFound):
    """Nothing of this id in the outbox, or nothing of the caller."""

    code = "outbox_not_found"


class AbsenceNotFound(NotFound):
    """No such absence of the caller."""

    code = "absence_not_found"


class RoomTaken(Conflict):
    """Somebody has booked the room at that time."""

    code = "room_taken"


class Outdated(Conflict):
    """Somebody changed it since it was read."""

    code = "outdated"
