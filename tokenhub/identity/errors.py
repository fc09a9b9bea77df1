"""What identity refuses, besides the roots of the tree (`kernel.errors`)."""

from tokenhub.kernel.errors import NotFound


class TeamNotFound(NotFound):
    """No team of this id or name in the caller's organisation."""

    code = "team_not_found"


class ProjectNotFound(NotFound):
    """No project of this id or name in the caller's organisation."""

    code = "project_not_found"


class UserNotFound(NotFound):
    """No user of this id or name in the caller's organisation, or none who may sign in."""

    code = "user_not_found"


class ServiceAccountNotFound(NotFound):
    """No service account of this id or name in the caller's organisation."""

    code = "service_account_not_found"


class KeyNotFound(NotFound):
    """No such key, or none that the caller may see, or several of that name."""

    code = "key_not_found"
