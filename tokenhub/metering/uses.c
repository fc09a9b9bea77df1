/* Settlement's work on the journal's lines of plain uses, for machines with a C compiler: by kind and in order of their ids,
 * their columns as JSON, sums, and the values of a statement. Each function has a twin in Python (`uses.py` names it), which is
 * what it must do; for a line of any other form, or a number that is no short one, it says None and the twin does it all.
 *
 * A line: [kind,"id",at_ms,input,cached,output,nano,latency_ms]\n
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define WIDTH 8
#define ID 1
#define DIGITS_MAX 18
#define LINE_BYTES_MAX 4096
#define LINES_MAX 100000
#define SUM_DIGITS_MAX 13 /* of what is summed: LINES_MAX of them fit a long long */

typedef struct {
    const char *line;
    long long kind;
    uint16_t size, at[WIDTH], length[WIDTH];
} Row;

static int is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

static long long value(const Row *row, int place) {
    long long sum = 0;
    const char *from = row->line + row->at[place];
    for (int i = 0; i < row->length[place]; i++) sum = 10 * sum + (from[i] - '0');
    return sum;
}

/* The line that begins at `from`, which ends before `end`. Returns where the next one begins, or NULL. */
static const char *read_line(const char *from, const char *end, Row *row) {
    const char *stop = memchr(from, '\n', end - from), *p = from;
    if (stop == NULL || stop - from > LINE_BYTES_MAX) return NULL;
    row->line = from;
    row->size = (uint16_t)(stop + 1 - from);
    for (int place = 0; place < WIDTH; place++) {
        if (*p++ != (place ? ',' : '[')) return NULL;
        if (place == ID && *p++ != '"') return NULL;
        const char *begin = p;
        if (place == ID) {
            while (is_word(*p)) p++; /* ends at the newline at the latest */
        } else {
            while (*p >= '0' && *p <= '9') p++;
            if (p == begin || p - begin > DIGITS_MAX || (*begin == '0' && p - begin > 1)) return NULL;
        }
        row->at[place] = (uint16_t)(begin - from);
        row->length[place] = (uint16_t)(p - begin);
        if (place == ID && *p++ != '"') return NULL;
    }
    if (*p != ']' || p + 1 != stop) return NULL;
    row->kind = value(row, 0);
    return stop + 1;
}

static int compare(const void *left, const void *right) {
    const Row *one = left, *other = right;
    if (one->kind != other->kind) return one->kind < other->kind ? -1 : 1;
    int shorter = one->length[ID] < other->length[ID] ? one->length[ID] : other->length[ID];
    int found = memcmp(one->line + one->at[ID], other->line + other->at[ID], shorter);
    return found ? found : one->length[ID] - other->length[ID];
}

/* Reads every line into rows, sorted; their number, or -1. Without the interpreter's lock. */
static Py_ssize_t read_rows(const char *text, Py_ssize_t size, Row *rows, Py_ssize_t count) {
    const char *end = text + size;
    int sorted = 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        text = read_line(text, end, &rows[i]);
        if (text == NULL) return -1;
        sorted = sorted && (i == 0 || compare(&rows[i - 1], &rows[i]) <= 0);
    }
    if (!sorted) qsort(rows, count, sizeof *rows, compare);
    return count;
}

static PyObject *column(const Row *rows, Py_ssize_t count, int place) { /* as JSON */
    int quotes = place == ID ? 2 : 0;
    Py_ssize_t size = 1 + count * (1 + quotes);
    for (Py_ssize_t i = 0; i < count; i++) size += rows[i].length[place];
    PyObject *out = PyBytes_FromStringAndSize(NULL, size);
    if (out == NULL) return NULL;
    char *to = PyBytes_AS_STRING(out);
    for (Py_ssize_t i = 0; i < count; i++) {
        *to++ = i ? ',' : '[';
        if (quotes) *to++ = '"';
        memcpy(to, rows[i].line + rows[i].at[place], rows[i].length[place]);
        to += rows[i].length[place];
        if (quotes) *to++ = '"';
    }
    *to = ']';
    return out;
}

static PyObject *columns(const Row *rows, Py_ssize_t count) {
    PyObject *out = PyTuple_New(WIDTH - 1);
    for (int place = 1; out != NULL && place < WIDTH; place++) {
        PyObject *one = column(rows, count, place);
        if (one == NULL) Py_CLEAR(out);
        else PyTuple_SET_ITEM(out, place - 1, one);
    }
    return out;
}

static PyObject *joined(const Row *rows, Py_ssize_t count) {
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) size += rows[i].size;
    PyObject *out = PyBytes_FromStringAndSize(NULL, size);
    if (out == NULL) return NULL;
    char *to = PyBytes_AS_STRING(out);
    for (Py_ssize_t i = 0; i < count; to += rows[i++].size) memcpy(to, rows[i].line, rows[i].size);
    return out;
}

/* (kind, lines, columns, count, tokens, nano, first_ms, last_ms) of rows of one kind; NULL without an error: a long number */
static PyObject *group(const Row *rows, Py_ssize_t count) {
    long long tokens = 0, nano = 0, first = value(&rows[0], 2), last = first;
    for (Py_ssize_t i = 0; i < count; i++) {
        for (int place = 3; place < 7; place++) {
            if (rows[i].length[place] > SUM_DIGITS_MAX) return NULL;
            *(place < 6 ? &tokens : &nano) += value(&rows[i], place);
        }
        long long at = value(&rows[i], 2);
        if (at < first) first = at;
        if (at > last) last = at;
    }
    PyObject *lines = joined(rows, count), *texts = lines == NULL ? NULL : columns(rows, count);
    if (texts == NULL) {
        Py_XDECREF(lines);
        return NULL;
    }
    return Py_BuildValue("LNNnLLLL", rows[0].kind, lines, texts, count, tokens, nano, first, last);
}

/* by_kind(lines) -> a list of (kind, lines, columns, count, tokens, nano, first_ms, last_ms), or None */
static PyObject *by_kind(PyObject *module, PyObject *lines) {
    if (!PyBytes_CheckExact(lines)) Py_RETURN_NONE;
    const char *text = PyBytes_AS_STRING(lines);
    Py_ssize_t size = PyBytes_GET_SIZE(lines), count = 0;
    if (size && text[size - 1] != '\n') Py_RETURN_NONE;
    for (const char *p = text; (p = memchr(p, '\n', text + size - p)) != NULL; p++) count++;
    if (count > LINES_MAX) Py_RETURN_NONE;
    Row *rows = PyMem_Malloc(count * sizeof *rows + 1);
    if (rows == NULL) return PyErr_NoMemory();
    Py_ssize_t have;
    Py_BEGIN_ALLOW_THREADS
    have = read_rows(text, size, rows, count);
    Py_END_ALLOW_THREADS
    PyObject *out = have < 0 ? Py_NewRef(Py_None) : PyList_New(0);
    for (Py_ssize_t from = 0, to; out != NULL && from < have; from = to) {
        for (to = from + 1; to < have && rows[to].kind == rows[from].kind; to++) {}
        PyObject *one = group(rows + from, to - from);
        if (one == NULL && !PyErr_Occurred()) {
            Py_SETREF(out, Py_NewRef(Py_None));
            break;
        }
        if (one == NULL || PyList_Append(out, one) < 0) Py_CLEAR(out);
        Py_XDECREF(one);
    }
    PyMem_Free(rows);
    return out;
}

/* values(lines, at, count, first, kind_id) -> ([first, kind_id, id, at_ms, ... of `count` lines from `at` on], next), or None */
static PyObject *values(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 5 || !PyBytes_CheckExact(args[0]) || !PyLong_CheckExact(args[1]) || !PyLong_CheckExact(args[2])) Py_RETURN_NONE;
    const char *text = PyBytes_AS_STRING(args[0]), *end = text + PyBytes_GET_SIZE(args[0]);
    Py_ssize_t at = PyLong_AsSsize_t(args[1]), count = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred()) return NULL;
    if (at < 0 || at > end - text || count < 0 || count > LINES_MAX) Py_RETURN_NONE;
    PyObject *out = PyList_New(1 + count * WIDTH);
    if (out == NULL) return NULL;
    PyList_SET_ITEM(out, 0, Py_NewRef(args[3]));
    const char *from = text + at;
    Py_ssize_t filled = 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        Row row;
        from = read_line(from, end, &row);
        if (from == NULL) {
            Py_DECREF(out);
            Py_RETURN_NONE;
        }
        PyList_SET_ITEM(out, filled++, Py_NewRef(args[4]));
        for (int place = 1; place < WIDTH; place++) {
            PyObject *one = place == ID ? PyUnicode_DecodeASCII(row.line + row.at[ID], row.length[ID], NULL)
                                        : PyLong_FromLongLong(value(&row, place));
            if (one == NULL) {
                Py_DECREF(out);
                return NULL;
            }
            PyList_SET_ITEM(out, filled++, one);
        }
    }
    return Py_BuildValue("Nn", out, from - text);
}

static PyMethodDef METHODS[] = {
    {"by_kind", by_kind, METH_O, NULL},
    {"values", (PyCFunction)(void (*)(void))values, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_uses", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__uses(void) { return PyModule_Create(&MODULE); }
