"""What skills refuse, besides the roots of the tree (`kernel.errors`)."""

from tokenhub.kernel.errors import Conflict, InvalidRequest, NotFound, PermissionDenied


class BadSkill(InvalidRequest):
    """The folder, the archive or its SKILL.md is not as the format asks."""

    code = "bad_skill"


class SkillNotFound(NotFound):
    """No such skill, or none that the caller may see."""

    code = "skill_not_found"


class SkillNotAllowed(PermissionDenied):
    """No administrator has allowed these bytes."""

    code = "skill_not_allowed"


class SkillChanged(Conflict):
    """What is stored has not the digest that was allowed."""

    code = "skill_changed"


class SkillRunNotFound(NotFound):
    """No such run, or none of the caller's."""

    code = "skill_run_not_found"
