/* The gateway's work on bytes, for machines with a C compiler. Each function has a twin in Python (`leaves.py` names it), which is
 * what it must say. It answers for the usual case alone and says None (or -1) to anything else, whatever the reason:
 * then the twin decides. So no refusal and no error is ever written here, and what is accepted here is a part of what
 * the twin accepts, with the same result (tests/gateway/test_leaves.py).
 *
 * No allocation but of the results, no global state, no pointer that outlives a call. Inputs are `bytes`.
 */
#define PY_SSIZE_T_CLEAN
#include "cursor.h"
#include <Python.h>

#define FIELDS_MAX 24

/* ---- a request's body ---- */

static int message(Cursor *c) {
    Span name, value;
    int first = 1, plain, role = 0, content = 0, found;
    while ((found = next_name(c, &name, &first)) == 1) {
        if (!string(c, &value, &plain)) return 0;
        if (is(&name, "role")) {
            if (role++) return 0;
            if (!is(&value, "user") && !is(&value, "assistant") && !is(&value, "system") && !is(&value, "developer"))
                return 0;
        } else if (is(&name, "content")) {
            if (content++) return 0;
        } else {
            return 0;
        }
    }
    return found == -1 && role && content;
}

static int messages(Cursor *c) {
    int count = 0;
    if (!take(c, '[')) return 0;
    do {
        skip_space(c);
        if (!message(c) || ++count > 16384) return 0;
        skip_space(c);
    } while (take(c, ','));
    return take(c, ']');
}

static int stops(Cursor *c) {
    Span inside;
    int plain, count = 0;
    if (c->at < c->end && *c->at == '"') return string(c, &inside, &plain);
    if (!take(c, '[')) return 0;
    skip_space(c);
    if (take(c, ']')) return 1;
    do {
        skip_space(c);
        if (!string(c, &inside, &plain) || ++count > 4) return 0;
        skip_space(c);
    } while (take(c, ','));
    return take(c, ']');
}

enum { MODEL, MESSAGES, STREAM, N, MAX_TOKENS, MAX_COMPLETION, TEMPERATURE, TOP_P, PRESENCE, FREQUENCY, SEED, STOP, NAMES };
static const char *const NAME[NAMES] = {"model", "messages", "stream", "n", "max_tokens", "max_completion_tokens", "temperature",
                                        "top_p", "presence_penalty", "frequency_penalty", "seed", "stop"};

typedef struct {
    Span model;
    long limit, choices;
    int seen[NAMES];
} Chat;

static int field(Cursor *c, int name, Chat *chat) {
    int plain;
    long value;
    if (name != MODEL && name != MESSAGES && word(c, "null")) return 1;
    switch (name) {
    case MODEL:
        return string(c, &chat->model, &plain) && plain && chat->model.end > chat->model.start &&
               chat->model.end - chat->model.start <= 256;
    case MESSAGES:
        return messages(c);
    case STREAM:
        return word(c, "false");
    case N:
        return count_of(c, &chat->choices) && chat->choices >= 1 && chat->choices <= 128;
    case MAX_TOKENS:
    case MAX_COMPLETION:
        if (!count_of(c, &value) || value < 1 || chat->limit) return 0;
        chat->limit = value;
        return 1;
    case TEMPERATURE:
        return decimal(c, 0, 2);
    case TOP_P:
        return decimal(c, 0, 1);
    case PRESENCE:
    case FREQUENCY:
        return decimal(c, -2, 2);
    case SEED:
        return count_of(c, &value);
    case STOP:
        return stops(c);
    }
    return 0;
}

static PyObject *written_anew(const Span *names, const Span *values, int first, int last, const char *open, const char *close) {
    Py_ssize_t size = (Py_ssize_t)(strlen(open) + strlen(close));
    for (int i = first; i < last; i++) size += (names[i].end - names[i].start) + (values[i].end - values[i].start) + 4;
    PyObject *out = PyBytes_FromStringAndSize(NULL, size);
    if (out == NULL) return NULL;
    char *to = PyBytes_AS_STRING(out), *begin = to;
    memcpy(to, open, strlen(open));
    to += strlen(open);
    for (int i = first; i < last; i++) {
        if (i > first) *to++ = ',';
        *to++ = '"';
        memcpy(to, names[i].start, names[i].end - names[i].start);
        to += names[i].end - names[i].start;
        *to++ = '"';
        *to++ = ':';
        memcpy(to, values[i].start, values[i].end - values[i].start);
        to += values[i].end - values[i].start;
    }
    memcpy(to, close, strlen(close));
    to += strlen(close);
    if (_PyBytes_Resize(&out, to - begin) < 0) return NULL;
    return out;
}

/* chat(data, start) -> (model, limit, choices, before, after) | None */
static PyObject *chat(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2 || !PyBytes_CheckExact(args[0])) Py_RETURN_NONE;
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), size = PyBytes_GET_SIZE(args[0]);
    if (start == -1 && PyErr_Occurred()) return NULL;
    if (start < 0 || start > size) Py_RETURN_NONE;
    const byte *data = (const byte *)PyBytes_AS_STRING(args[0]) + start;
    Cursor c = {data, data + size - start, 0};
    Chat found = {{0, 0}, 0, 1, {0}};
    Span names[FIELDS_MAX], values[FIELDS_MAX], name;
    int first = 1, count = 0, model_at = -1, compact = 1, state;
    const byte *expected = data + 1;
    while ((state = next_name(&c, &name, &first)) == 1) {
        int which = 0;
        while (which < NAMES && !is(&name, NAME[which])) which++;
        if (which == NAMES || found.seen[which]++ || count == FIELDS_MAX) Py_RETURN_NONE;
        if (name.start - 1 != expected || c.at != name.end + 2) compact = 0;
        if (which == MODEL) model_at = count;
        names[count] = name;
        values[count].start = c.at;
        if (!field(&c, which, &found)) Py_RETURN_NONE;
        values[count++].end = c.at;
        expected = c.at + 1;
    }
    if (state != -1 || !found.seen[MODEL] || !found.seen[MESSAGES]) Py_RETURN_NONE;
    if (c.at != expected) compact = 0;
    Span body = {data, c.at};
    skip_space(&c);
    if (c.at != c.end) Py_RETURN_NONE;
    if (memmem(data, size - start, "\"image_url\"", 11)) Py_RETURN_NONE;
    PyObject *before, *after;
    if (compact) {
        before = PyBytes_FromStringAndSize((const char *)data, values[model_at].start - data);
        after = PyBytes_FromStringAndSize((const char *)values[model_at].end, body.end - values[model_at].end);
    } else {
        before = written_anew(names, values, 0, model_at, "{", model_at ? ",\"model\":" : "\"model\":");
        after = written_anew(names, values, model_at + 1, count, model_at + 1 < count ? "," : "", "}");
    }
    PyObject *model = PyUnicode_DecodeASCII((const char *)found.model.start, found.model.end - found.model.start, NULL);
    PyObject *out = NULL;
    if (before && after && model) {
        PyObject *limit = PyLong_FromLong(found.limit), *choices = PyLong_FromLong(found.choices);
        if (limit && choices) out = PyTuple_Pack(5, model, limit, choices, before, after);
        Py_XDECREF(limit);
        Py_XDECREF(choices);
    }
    Py_XDECREF(before);
    Py_XDECREF(after);
    Py_XDECREF(model);
    return out;
}

/* ---- an answer ---- */

typedef struct {
    long prompt, completion, cached, hit;
    int details; /* `prompt_tokens_details` is an object */
    Span finish;
    int choices;
} Answer;

/* An object of counts that are all zero or null, but for `cached_tokens`, which goes to `cached`. */
static int details(Cursor *c, long *cached) {
    Span name;
    int first = 1, seen = 0, found;
    long value;
    while ((found = next_name(c, &name, &first)) == 1) {
        if (is(&name, "cached_tokens")) {
            if (seen++ || cached == NULL) return 0;
            if (word(c, "null")) continue;
            if (!count_of(c, cached)) return 0;
        } else if (word(c, "null")) {
            continue;
        } else if (!count_of(c, &value) || value) {
            return 0;
        }
    }
    return found == -1;
}

static int usage(Cursor *c, Answer *answer) {
    Span name;
    int first = 1, found, seen[6] = {0};
    long value;
    while ((found = next_name(c, &name, &first)) == 1) {
        if (is(&name, "prompt_tokens")) {
            if (seen[0]++ || !count_of(c, &answer->prompt)) return 0;
        } else if (is(&name, "completion_tokens")) {
            if (seen[1]++ || !count_of(c, &answer->completion)) return 0;
        } else if (is(&name, "total_tokens")) {
            if (seen[2]++ || !(word(c, "null") || count_of(c, &value))) return 0;
        } else if (is(&name, "prompt_tokens_details")) {
            if (seen[3]++) return 0;
            if (word(c, "null")) continue;
            answer->details = 1;
            if (!details(c, &answer->cached)) return 0;
        } else if (is(&name, "completion_tokens_details")) {
            if (seen[4]++) return 0;
            if (word(c, "null")) continue;
            if (!details(c, NULL)) return 0;
        } else if (is(&name, "prompt_cache_hit_tokens")) {
            if (seen[5]++ || !(word(c, "null") || count_of(c, &answer->hit))) return 0;
        } else if (!any_value(c, 2)) {
            return 0;
        }
    }
    return found == -1 && seen[0];
}

static int choice(Cursor *c, Answer *answer) {
    Span name, finish;
    int first = 1, found, seen = 0, plain;
    while ((found = next_name(c, &name, &first)) == 1) {
        if (is(&name, "finish_reason")) {
            if (seen++) return 0;
            if (word(c, "null")) continue;
            if (!string(c, &finish, &plain) || !plain) return 0;
            if (finish.end > finish.start) answer->finish = finish;
        } else if (!any_value(c, 3)) {
            return 0;
        }
    }
    return found == -1;
}

static int choices(Cursor *c, Answer *answer) {
    if (!take(c, '[')) return 0;
    do {
        skip_space(c);
        if (!choice(c, answer)) return 0;
        answer->choices++;
        skip_space(c);
    } while (take(c, ','));
    return take(c, ']');
}

/* answer(body) -> (fresh, cached, output, finish) | None */
static PyObject *answer(PyObject *module, PyObject *body) {
    if (!PyBytes_CheckExact(body)) Py_RETURN_NONE;
    const byte *data = (const byte *)PyBytes_AS_STRING(body);
    Cursor c = {data, data + PyBytes_GET_SIZE(body), 1};
    Answer got = {0, 0, 0, 0, 0, {0, 0}, 0};
    Span name;
    int first = 1, found, seen_usage = 0, seen_choices = 0, seen_error = 0;
    while ((found = next_name(&c, &name, &first)) == 1) {
        if (is(&name, "usage")) {
            if (seen_usage++ || !usage(&c, &got)) Py_RETURN_NONE;
        } else if (is(&name, "choices")) {
            if (seen_choices++ || !choices(&c, &got)) Py_RETURN_NONE;
        } else if (is(&name, "error")) {
            if (seen_error++ || !word(&c, "null")) Py_RETURN_NONE;
        } else if (is(&name, "timings") || !any_value(&c, 1)) {
            Py_RETURN_NONE;
        }
    }
    if (found != -1 || !seen_usage || !seen_choices) Py_RETURN_NONE;
    skip_space(&c);
    if (c.at != c.end) Py_RETURN_NONE;
    long cached = got.details ? got.cached : got.hit;
    if (cached > got.prompt) Py_RETURN_NONE;
    if (got.finish.start == NULL) return Py_BuildValue("llls", got.prompt - cached, cached, got.completion, "stop");
    return Py_BuildValue("llls#", got.prompt - cached, cached, got.completion, (const char *)got.finish.start,
                         (Py_ssize_t)(got.finish.end - got.finish.start));
}

/* ---- heads ---- */

/* whole(data) -> where the body of a plain 200 begins, if `data` is the whole of it; else -1 */
static PyObject *whole(PyObject *module, PyObject *block) {
    if (!PyBytes_CheckExact(block)) return PyLong_FromLong(-1);
    const byte *data = (const byte *)PyBytes_AS_STRING(block), *end = data + PyBytes_GET_SIZE(block);
    const byte *stop = memmem(data, end - data, "\r\n\r\n", 4);
    if (stop == NULL || stop - data > 16384 || stop - data < 13 || memcmp(data, "HTTP/1.1 200 ", 13)) return PyLong_FromLong(-1);
    const byte *line = memchr(data, '\n', stop + 2 - data);
    int length = 0, json = 0;
    if (line[-1] != '\r') return PyLong_FromLong(-1);
    for (line++; line < stop; ) {
        const byte *next = memchr(line, '\n', stop + 2 - line), *colon = memchr(line, ':', next - line);
        if (next[-1] != '\r' || colon == NULL || memchr(line, 0, next - line)) return PyLong_FromLong(-1);
        if (memchr(line, '\r', next - 1 - line)) return PyLong_FromLong(-1);
        Span value = {colon + 1, next - 1};
        if (value.start < value.end && *value.start == ' ') value.start++;
        Py_ssize_t size = colon - line;
        switch (size) {
        case 14:
            if (same_name(line, size, "content-length")) {
                Cursor c = {value.start, value.end, 0};
                long value_of;
                if (length++ || colon + 2 != value.start || !count_of(&c, &value_of) || c.at != value.end ||
                    value_of != end - stop - 4)
                    return PyLong_FromLong(-1);
            }
            break;
        case 12:
            if (same_name(line, size, "content-type")) {
                if (json++ || colon + 2 != value.start || !has_prefix(value, "application/json")) return PyLong_FromLong(-1);
            }
            break;
        case 17:
            if (same_name(line, size, "transfer-encoding")) return PyLong_FromLong(-1);
            break;
        case 16:
            if (same_name(line, size, "content-encoding")) return PyLong_FromLong(-1);
            break;
        case 10:
            if (same_name(line, size, "connection") &&
                !(value.end - value.start == 10 && same_name(value.start, 10, "keep-alive")))
                return PyLong_FromLong(-1);
            break;
        }
        for (const byte *p = line; p < colon; p++)
            if (*p <= ' ' || *p >= 0x7f) return PyLong_FromLong(-1);
        line = next + 1;
    }
    return PyLong_FromSsize_t(length == 1 && json == 1 ? stop + 4 - data : -1);
}

/* known(data) -> (head without the digits of its length, where the body begins, length) | None */
static PyObject *known(PyObject *module, PyObject *block) {
    if (!PyBytes_CheckExact(block)) Py_RETURN_NONE;
    const byte *data = (const byte *)PyBytes_AS_STRING(block);
    Py_ssize_t size = PyBytes_GET_SIZE(block);
    const byte *stop = memmem(data, size, "\r\n\r\n", 4);
    if (stop == NULL || stop == data || stop - data > 4096) Py_RETURN_NONE;
    for (const byte *line = data; (line = memchr(line, '\r', stop + 2 - line)) != NULL && line < stop; line++) {
        if (stop - line < 19 || line[1] != '\n' || (line[2] | 0x20) != 'c' || (line[10] | 0x20) != 'l') continue;
        if (memcmp(line + 3, "ontent-", 7) || memcmp(line + 11, "ength: ", 7)) continue;
        Cursor c = {line + 18, stop, 0};
        const byte *start = c.at;
        int count = digits(&c);
        if (!count || count > 8 || c.at[0] != '\r' || c.at[1] != '\n') continue;
        long length = 0;
        for (const byte *p = start; p < c.at; p++) length = length * 10 + (*p - '0');
        Py_ssize_t left = start - data, right = stop - c.at;
        PyObject *key = PyBytes_FromStringAndSize(NULL, left + right);
        if (key == NULL) return NULL;
        memcpy(PyBytes_AS_STRING(key), data, left);
        memcpy(PyBytes_AS_STRING(key) + left, c.at, right);
        return Py_BuildValue("Nnl", key, (Py_ssize_t)(stop + 4 - data), length);
    }
    Py_RETURN_NONE;
}

/* ---- what is written ---- */

static const char DIGITS[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static char *in_base_32(char *to, unsigned long long value, int digits) {
    for (int i = digits; i--; value >>= 5) to[i] = DIGITS[value & 31];
    return to + digits;
}

static int is_ascii(PyObject *text) { return PyUnicode_CheckExact(text) && PyUnicode_IS_COMPACT_ASCII(text); }

/* identifier(at_ms, middle, count) -> `req_`, 10 digits of time, the middle, 7 digits of the count; or None */
static PyObject *identifier(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3 || !PyLong_CheckExact(args[0]) || !is_ascii(args[1]) || !PyLong_CheckExact(args[2])) Py_RETURN_NONE;
    int long_time, long_count;
    long long at_ms = PyLong_AsLongLongAndOverflow(args[0], &long_time), count = PyLong_AsLongLongAndOverflow(args[2], &long_count);
    Py_ssize_t size = PyUnicode_GET_LENGTH(args[1]);
    if (long_time || long_count || at_ms < 0 || at_ms >> 50 || count < 0 || count >> 35) Py_RETURN_NONE;
    PyObject *out = PyUnicode_New(4 + 10 + size + 7, 127);
    if (out == NULL) return NULL;
    char *to = (char *)PyUnicode_1BYTE_DATA(out);
    memcpy(to, "req_", 4);
    to = in_base_32(to + 4, (unsigned long long)at_ms, 10);
    memcpy(to, PyUnicode_1BYTE_DATA(args[1]), size);
    in_base_32(to + size, (unsigned long long)count, 7);
    return out;
}

static char *put(char *to, const char *from, Py_ssize_t size) {
    memcpy(to, from, size);
    return to + size;
}

#define PUT_WORDS(to, words) put(to, words, sizeof(words) - 1)
#define PUT_BYTES(to, bytes) put(to, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes))
#define PUT_TEXT(to, text) put(to, (const char *)PyUnicode_1BYTE_DATA(text), PyUnicode_GET_LENGTH(text))

static char *put_number(char *to, Py_ssize_t value) {
    char digits[20], *from = digits + sizeof digits;
    do *--from = (char)('0' + value % 10);
    while (value /= 10);
    return put(to, from, digits + sizeof digits - from);
}

static Py_ssize_t size_of(PyObject *const *parts, Py_ssize_t count, int text) { /* all bytes, but one text; or -1 */
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i == text ? !is_ascii(parts[i]) : !PyBytes_CheckExact(parts[i])) return -1;
        size += i == text ? PyUnicode_GET_LENGTH(parts[i]) : PyBytes_GET_SIZE(parts[i]);
    }
    return size;
}

/* Bytes that hold these parts and what stands between them; None if they are others. */
static PyObject *room_for(PyObject *const *parts, Py_ssize_t count, int text) {
    Py_ssize_t size = count == 5 ? size_of(parts, count, text) : -1;
    if (size < 0) Py_RETURN_NONE;
    return PyBytes_FromStringAndSize(NULL, size + 80);
}

static PyObject *cut_at(PyObject *bytes, const char *end) {
    return _PyBytes_Resize(&bytes, end - PyBytes_AS_STRING(bytes)) < 0 ? NULL : bytes;
}

/* asked(head, request_id, before, model, after) -> a request for an upstream, or None */
static PyObject *asked(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *out = room_for(args, nargs, 1);
    if (out == NULL || out == Py_None) return out;
    char *to = PUT_BYTES(PyBytes_AS_STRING(out), args[0]);
    to = PUT_WORDS(to, "x-request-id: ");
    to = PUT_TEXT(to, args[1]);
    to = PUT_WORDS(to, "\r\ncontent-length: ");
    to = put_number(to, PyBytes_GET_SIZE(args[2]) + PyBytes_GET_SIZE(args[3]) + PyBytes_GET_SIZE(args[4]));
    to = PUT_WORDS(to, "\r\n\r\n");
    for (int i = 2; i < 5; i++) to = PUT_BYTES(to, args[i]);
    return cut_at(out, to);
}

/* answered(start, headers, request_id, end, body) -> an answer for a client, or None */
static PyObject *answered(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *out = room_for(args, nargs, 2);
    if (out == NULL || out == Py_None) return out;
    char *to = PUT_BYTES(PyBytes_AS_STRING(out), args[0]);
    to = PUT_BYTES(to, args[1]);
    to = PUT_WORDS(to, "content-length: ");
    to = put_number(to, PyBytes_GET_SIZE(args[4]));
    to = PUT_WORDS(to, "\r\nx-request-id: ");
    to = PUT_TEXT(to, args[2]);
    to = PUT_WORDS(to, "\r\n");
    to = PUT_BYTES(to, args[3]);
    to = PUT_BYTES(to, args[4]);
    return cut_at(out, to);
}

static PyMethodDef METHODS[] = {
    {"chat", (PyCFunction)(void (*)(void))chat, METH_FASTCALL, NULL},
    {"answer", answer, METH_O, NULL},
    {"whole", whole, METH_O, NULL},
    {"known", known, METH_O, NULL},
    {"identifier", (PyCFunction)(void (*)(void))identifier, METH_FASTCALL, NULL},
    {"asked", (PyCFunction)(void (*)(void))asked, METH_FASTCALL, NULL},
    {"answered", (PyCFunction)(void (*)(void))answered, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_leaves", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__leaves(void) {
    know_looks();
    return PyModule_Create(&MODULE);
}
