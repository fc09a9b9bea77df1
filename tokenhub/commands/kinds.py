"""What a name says: which kind of thing an argument chooses, and what a tool's verb does.

The vocabulary is that of office software at large. It holds no tool's own data and knows no tool by name: what it
does not know is taken for the more dangerous (an unknown verb cannot be taken back, an unknown argument is a sink).
"""

import re
from collections.abc import Iterable
from typing import Final


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


USER: Final = "user"
"""The kind of whoever can be reached or paid: people, addresses, accounts."""
RIGHT: Final = "right"
"""The kind of what widens who may do what: a role, a permission, `everyone`."""
PLACE: Final = "url"
"""The kind of what lies outside: a link, a host, a webhook."""

_FAMILIES: Final = {
    USER: "user person people contact friend colleague coworker employee staff member participant attendee invitee"
    " guest recipient address assignee lead manager owner reviewer approver delegate receiver"
    " payee beneficiary customer client account iban phone username handle cosigner",
    RIGHT: "right permission role access visibility privilege everyone public anyone scope",
    PLACE: "url uri link href webhook endpoint host hostname domain website webpage",
    "channel": "channel chatroom",
    "team": "team group",
    "event": "event meeting appointment invitation",
    "file": "file filename document attachment upload spreadsheet presentation",
    "message": "message thread conversation",
    "task": "task todo ticket issue",
    "folder": "folder directory",
    "project": "project",
    "department": "department",
}
FAMILIES: Final = frozenset(_FAMILIES)
_KIND: Final = {word: kind for kind, words in _FAMILIES.items() for word in words.split()}
_NOUN: Final = _KIND | {"email": "message", "mail": "message"}
_ARGUMENT: Final = _KIND | dict.fromkeys(("to", "cc", "bcc", "email", "mail"), USER)
"""`email` is an address where it is asked for, and a message where it is listed."""
_CONTENT: Final = _set(
    "body content contents text description summary note notes comment caption detail details reason remark html"
    " markdown subject title label topic query keyword keywords search filter format language unit color colour"
    " location place venue agenda message purpose memo explanation"
)
"""Arguments that say what is written, not who or what is affected."""
_WHEN: Final = _set(
    "date time datetime day week month year hour minute start end begin from until since due deadline duration"
    " timezone when at before after recurrence recurring frequency interval"
)
_NAMES: Final = _set("name title filename subject label username nickname")
_IDS: Final = _set("id ids uuid guid key ref reference number path uid")
_OPAQUE: Final = _set("id ids uuid guid uid")
_LEAST: Final = _set("r read reader view viewer none private false")
"""Rights that let somebody see and no more."""

_READS: Final = _set(
    "get list search find read show view fetch query check count describe lookup browse look see is has calculate"
    " compute compare preview explain who what when where summarize"
)
_CREATES: Final = _set("create make add new draft insert book reserve schedule")
_WRITES: Final = _CREATES | _set(
    "append update set edit rename move reschedule share invite assign comment tag label mark upload write save put"
    " change modify join star pin react archive copy enable disable attach open close complete finish reopen reply"
    " follow subscribe leave"
)
_DEEDS: Final = (_WRITES - _set("open close star like follow leave")) | _set(
    "send tell notify inform ask remind forward post publish pay transfer refund buy order delete remove cancel drop"
    " clear approve reject submit sign arrange organize organise start stop fix correct replace store register enter"
    " include merge swap grant revoke allow deny prepare compose perform execute carry"
)
"""Verbs of a person who asks for more than an answer."""
DEEDS_CHINESE: Final = _set(
    "添加 加入 加上 创建 新建 建立 发送 发给 分享 共享 邀请 更新 修改 改成 改为 移动 预订 预定 提交 安排 完成 通知 告诉 提醒 删除 取消"
    " 上传 写入 转账 付款 回复 转发 保存"
)
"""The same in Chinese, which puts no spaces between words."""
FUNCTION: Final = _set(
    "a an the this that these those my your our their his her its i me we us you he she it they them who whom whose"
    " which what when where why how if is are was were be been am do does did have has had will would can could should"
    " may might must not no yes and or but so as at by for from in into of off on onto out over to up with without"
    " all any both each every few more most other some such same new old then than there here m s t re ll ve d"
    " please also just only first last next"
)
"""Words that are nobody's whole name."""
_MONEY: Final = _set("amount sum money cents dollars euros")
_JOINS: Final = _set("by from in to with for of on at into and or")


def parts(name: str) -> list[str]:
    """`newStartTime`, `new_start_time` → new, start, time: lower-case words, singular."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [singular(word) for word in re.findall(r"[a-z0-9]+", split.lower())]


def singular(word: str) -> str:
    """`parties` → party, `files` → file, `address` → address."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def kind_word(word: str) -> str:
    """The kind that a single word of a person means, or empty: `meeting` → event."""
    return _NOUN.get(singular(word.lower()), "")


def kind_of(argument: str, *, within: Iterable[str] = ()) -> str:
    """The kind that an argument of this name chooses: `file_id` → file, `recipients` → user, `id` → `within`."""
    words = parts(argument)
    known = _NOUN if set(words) & _OPAQUE else _ARGUMENT
    for word in reversed(words):
        if word in known:
            return known[word]
    left = [word for word in words if word not in _IDS and word not in _NAMES and word not in ("new", "old")]
    if left:
        return left[-1]
    return next(iter(within), words[-1] if words else "")


def effect_of(tool: str) -> str:
    """`read`, `write` or `irreversible` by the verbs in a tool's name; an unknown verb cannot be taken back."""
    words = parts(tool)
    verb = words[0] if words else ""
    if verb in _READS:
        return "read"
    return "write" if verb in _WRITES else "irreversible"


def is_deed(word: str) -> bool:
    """True for a verb, in whatever form, of a person who asks for more than an answer: `adding`, `invited`."""
    stems = (word, word[:-1], word[:-2], word[:-3], word[:-3] + "e", word[:-2] + "e", word[:-4])
    endings = ("s", "d", "ed", "ing")
    return word in _DEEDS or (
        word.endswith(endings) and any(len(stem) > 2 and stem in _DEEDS for stem in stems)
    )


def creates(tool: str) -> bool:
    """True if the tool makes a new thing: `create_file`; not `add_members`, which changes one."""
    words = parts(tool)
    return bool(words) and words[0] in _CREATES


def pays(arguments: Iterable[str]) -> bool:
    """True if these arguments together move money: an amount, and somebody who gets it."""
    names = list(arguments)
    amount = any(set(parts(name)) & _MONEY for name in names)
    return amount and any(_ARGUMENT.get(word) == USER for name in names for word in parts(name))


def nouns_of(tool: str) -> tuple[str, ...]:
    """Kinds of the things that a tool's name speaks of: `search_calendar_events` → calendar, event."""
    found: list[str] = []
    for word in parts(tool)[1:]:
        if word in _JOINS:
            break
        found.append(_NOUN.get(word, word))
    return tuple(dict.fromkeys(found))


def reaches_out(argument: str) -> bool:
    """True if even a read by this argument goes to a place of the caller's choice: a link, a host."""
    return any(_KIND.get(word) == PLACE for word in parts(argument))


def is_sink(argument: str, shape: str, *, fresh: bool) -> bool:
    """True if an argument of a write chooses who or what is affected; `shape` is its JSON type, `fresh` = it names
    what is only being made."""
    words = parts(argument)
    kinds = {_ARGUMENT[word] for word in words if word in _ARGUMENT}
    if fresh and words and (words[-1] in _NAMES or (set(words) & _NAMES and len(words) > 1)):
        return False
    if set(words) & _OPAQUE or kinds - {"message"}:
        return True
    if words and (words[-1] in _CONTENT or set(words) & _WHEN):
        return False
    return shape not in ("integer", "number", "boolean", "null")


def form_of(argument: str) -> str:
    """`id` if an argument of this name takes an id, which nobody is called by; `mail` if an address; else empty."""
    words = set(parts(argument))
    return "id" if words & _OPAQUE else "mail" if words & {"email", "mail"} else ""


def is_least_right(value: str) -> bool:
    """True for a right that lets somebody see and no more."""
    return value.lower() in _LEAST


def is_name(field: str) -> bool:
    """True if a field of this name says what a thing is called."""
    words = parts(field)
    return bool(words) and words[-1] in _NAMES


def is_id(field: str) -> bool:
    """True for `id`, `id_`, `uuid`."""
    words = parts(field)
    return len(words) == 1 and words[0] in _OPAQUE
