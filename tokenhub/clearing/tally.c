/* What the clerk counts for each plain request, for machines with a C compiler: taking from cells, the journal's lines,
 * giving back. Each function has a twin in Python (`tally.py` names it), which is what it must do. It does the usual case
 * alone and whole; for anything else it does nothing and says so (-1 or None), and the twin does all of it.
 *
 * Cells and holds are objects of Python; where their attributes lie is read off their classes once (`bind`).
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>
#include <structmember.h>

#define UNITS 4
#define USE_WIDTH 8
#define CELLS_MAX 64
#define CHARGES_MAX 4096
#define CELL_MAX ((long long)1 << 60)
#define AMOUNT_MAX ((long long)1 << 48) /* of one request: CHARGES_MAX of them and a cell's own fit a long long */
#define DIGITS_MAX 20

enum { FREE, UNIT, LOW, TOUCHED, CELL_SLOTS };
enum { CELLS, CLOSED, GRANTED, PATH, DRAFT, HOLD_PATH_ID, REFUSED_BY, REQUEST_ID, HOLD_SLOTS };
enum { PATH_CELLS, UNTIL, PATH_ID, PATH_SLOTS };
static const char *const CELL_NAMES[] = {"free", "unit", "low", "touched_ms"};
static const char *const HOLD_NAMES[] = {"cells", "closed", "granted", "path", "draft", "path_id", "refused_by", "request_id"};
static const char *const PATH_NAMES[] = {"cells", "until_ms", "path_id"};

static PyTypeObject *cell_type, *hold_type, *path_type;
static Py_ssize_t cell_at[CELL_SLOTS], hold_at[HOLD_SLOTS], path_at[PATH_SLOTS];

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

static void put(PyObject *object, Py_ssize_t offset, PyObject *value) { /* takes the reference */
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = value;
    Py_XDECREF(old);
}

static int whole(PyObject *value, long long *out) {
    int overflow;
    if (value == NULL || !PyLong_CheckExact(value)) return 0;
    *out = PyLong_AsLongLongAndOverflow(value, &overflow);
    return !overflow;
}

static int within(PyObject *value, long long bound, long long *out) {
    return whole(value, out) && *out > -bound && *out < bound;
}

static int slots(PyObject *type, const char *const *names, int count, Py_ssize_t *at) {
    if (!PyType_Check(type)) return 0;
    for (int i = 0; i < count; i++) {
        PyObject *found = PyDict_GetItemString(((PyTypeObject *)type)->tp_dict, names[i]);
        if (found == NULL || !Py_IS_TYPE(found, &PyMemberDescr_Type)) return 0;
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type != T_OBJECT_EX || member->flags) return 0;
        at[i] = member->offset;
    }
    return 1;
}

/* bind(Cell, Hold, Path) -> True if their attributes are slots */
static PyObject *bind(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 3 || !slots(args[0], CELL_NAMES, CELL_SLOTS, cell_at) || !slots(args[1], HOLD_NAMES, HOLD_SLOTS, hold_at) ||
        !slots(args[2], PATH_NAMES, PATH_SLOTS, path_at))
        Py_RETURN_FALSE;
    cell_type = (PyTypeObject *)Py_NewRef(args[0]);
    hold_type = (PyTypeObject *)Py_NewRef(args[1]);
    path_type = (PyTypeObject *)Py_NewRef(args[2]);
    Py_RETURN_TRUE;
}

typedef struct {
    long long of[UNITS];
} Amounts;

static int amounts(PyObject *value, Amounts *out) {
    if (value == NULL || !PyTuple_Check(value) || PyTuple_GET_SIZE(value) != UNITS) return 0;
    for (int i = 0; i < UNITS; i++)
        if (!within(PyTuple_GET_ITEM(value, i), AMOUNT_MAX, &out->of[i])) return 0;
    return 1;
}

static int is_cells(PyObject *cells) {
    return cells != NULL && PyTuple_CheckExact(cells) && PyTuple_GET_SIZE(cells) <= CELLS_MAX;
}

/* A cell's `free` and `unit`. */
static int read_cell(PyObject *cell, long long *free, long long *unit) {
    return Py_IS_TYPE(cell, cell_type) && within(SLOT(cell, cell_at[FREE]), CELL_MAX, free) &&
           whole(SLOT(cell, cell_at[UNIT]), unit) && *unit >= 0 && *unit < UNITS;
}

/* of (cells, need, now_ms) -> 0: a cell has too little, nothing was taken; 1: taken; 2: taken, and a cell is low; -1 */
static PyObject *take(PyObject *const *args, Py_ssize_t nargs) {
    Amounts need;
    long long free[CELLS_MAX], unit, low, now;
    PyObject *fresh[CELLS_MAX];
    if (nargs != 3 || cell_type == NULL || !is_cells(args[0]) || !amounts(args[1], &need) || !whole(args[2], &now))
        return PyLong_FromLong(-1);
    Py_ssize_t count = PyTuple_GET_SIZE(args[0]);
    int short_of = 0, is_low = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *cell = PyTuple_GET_ITEM(args[0], i);
        if (!read_cell(cell, &free[i], &unit) || !whole(SLOT(cell, cell_at[LOW]), &low)) return PyLong_FromLong(-1);
        for (Py_ssize_t j = 0; j < i; j++)
            if (PyTuple_GET_ITEM(args[0], j) == cell) return PyLong_FromLong(-1);
        free[i] -= need.of[unit];
        short_of |= free[i] < 0;
        is_low |= free[i] < low;
    }
    if (short_of) return PyLong_FromLong(0);
    for (Py_ssize_t i = 0; i < count; i++) {
        fresh[i] = PyLong_FromLongLong(free[i]);
        if (fresh[i] == NULL) {
            while (i--) Py_DECREF(fresh[i]);
            return NULL;
        }
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *cell = PyTuple_GET_ITEM(args[0], i);
        put(cell, cell_at[FREE], fresh[i]);
        put(cell, cell_at[TOUCHED], Py_NewRef(args[2]));
    }
    return PyLong_FromLong(is_low ? 2 : 1);
}

/* hold(path, need, request_id, now_ms) -> a hold of what was taken; or 0, 2 or -1 as `take`, and no hold */
static PyObject *hold(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 4 || hold_type == NULL || !Py_IS_TYPE(args[0], path_type)) return PyLong_FromLong(-1);
    PyObject *made = hold_type->tp_alloc(hold_type, 0); /* before: what was taken must not be lost for want of memory, */
    if (made == NULL) return NULL;                      /* and making it may collect garbage, which runs anything */
    PyObject *cells = SLOT(args[0], path_at[PATH_CELLS]), *path_id = SLOT(args[0], path_at[PATH_ID]);
    PyObject *taking[] = {cells, args[1], args[3]};
    PyObject *taken = cells == NULL || path_id == NULL ? PyLong_FromLong(-1) : take(taking, 3);
    if (taken == NULL || PyLong_AsLong(taken) != 1) {
        Py_DECREF(made);
        return taken;
    }
    Py_DECREF(taken);
    put(made, hold_at[CELLS], Py_NewRef(cells));
    put(made, hold_at[CLOSED], Py_NewRef(Py_False));
    put(made, hold_at[GRANTED], Py_NewRef(args[1]));
    put(made, hold_at[PATH], Py_NewRef(args[0]));
    put(made, hold_at[DRAFT], Py_NewRef(Py_None));
    put(made, hold_at[HOLD_PATH_ID], Py_NewRef(path_id));
    put(made, hold_at[REFUSED_BY], Py_NewRef(Py_None));
    put(made, hold_at[REQUEST_ID], Py_NewRef(args[2]));
    return made;
}

/* ---- a charge: (hold, use, tokens) ---- */

typedef struct {
    PyObject *hold, *use;
    long long tokens, nano, at_ms;
    Amounts granted;
} Charge;

static int charge(PyObject *item, Charge *out) {
    if (!PyTuple_CheckExact(item) || PyTuple_GET_SIZE(item) != 3) return 0;
    out->hold = PyTuple_GET_ITEM(item, 0);
    out->use = PyTuple_GET_ITEM(item, 1);
    return Py_IS_TYPE(out->hold, hold_type) && PyTuple_CheckExact(out->use) && PyTuple_GET_SIZE(out->use) == USE_WIDTH &&
           within(PyTuple_GET_ITEM(item, 2), AMOUNT_MAX, &out->tokens) && whole(PyTuple_GET_ITEM(out->use, 2), &out->at_ms) &&
           within(PyTuple_GET_ITEM(out->use, 6), AMOUNT_MAX, &out->nano) && amounts(SLOT(out->hold, hold_at[GRANTED]), &out->granted);
}

static int is_charges(PyObject *charges) {
    return cell_type != NULL && PyList_CheckExact(charges) && PyList_GET_SIZE(charges) <= CHARGES_MAX;
}

static char *number(char *to, long long value) {
    char digits[DIGITS_MAX], *from = digits + DIGITS_MAX;
    int negative = value < 0;
    unsigned long long rest = negative ? -(unsigned long long)value : (unsigned long long)value;
    do {
        *--from = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (negative) *to++ = '-';
    memcpy(to, from, digits + DIGITS_MAX - from);
    return to + (digits + DIGITS_MAX - from);
}

static int is_word(const char *text, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) return 0;
    }
    return 1;
}

/* lines(charges, told) -> the journal's lines, if each use is within its hold and its kind's number is in `told`; None */
static PyObject *lines(PyObject *module, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2 || !is_charges(args[0]) || !PySet_CheckExact(args[1])) Py_RETURN_NONE;
    Py_ssize_t count = PyList_GET_SIZE(args[0]), size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Charge one;
        if (!charge(PyList_GET_ITEM(args[0], i), &one) || one.tokens > one.granted.of[0] || one.nano > one.granted.of[2])
            Py_RETURN_NONE;
        PyObject *kind = PyTuple_GET_ITEM(one.use, 0), *id = PyTuple_GET_ITEM(one.use, 1);
        if (!PyLong_CheckExact(kind) || !PyUnicode_CheckExact(id) || !PyUnicode_IS_COMPACT_ASCII(id)) Py_RETURN_NONE;
        if (!is_word((const char *)PyUnicode_1BYTE_DATA(id), PyUnicode_GET_LENGTH(id))) Py_RETURN_NONE;
        int known = PySet_Contains(args[1], kind);
        if (known < 0) return NULL;
        if (!known) Py_RETURN_NONE;
        size += PyUnicode_GET_LENGTH(id) + USE_WIDTH * (DIGITS_MAX + 2) + 4;
    }
    PyObject *out = PyBytes_FromStringAndSize(NULL, size);
    if (out == NULL) return NULL;
    char *begin = PyBytes_AS_STRING(out), *to = begin;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *use = PyTuple_GET_ITEM(PyList_GET_ITEM(args[0], i), 1);
        for (int place = 0; place < USE_WIDTH; place++) {
            PyObject *value = PyTuple_GET_ITEM(use, place);
            long long digits;
            *to++ = place ? ',' : '[';
            if (place == 1) {
                *to++ = '"';
                memcpy(to, PyUnicode_1BYTE_DATA(value), PyUnicode_GET_LENGTH(value));
                to += PyUnicode_GET_LENGTH(value);
                *to++ = '"';
            } else if (whole(value, &digits)) {
                to = number(to, digits);
            } else {
                Py_DECREF(out);
                Py_RETURN_NONE;
            }
        }
        *to++ = ']';
        *to++ = '\n';
    }
    if (_PyBytes_Resize(&out, to - begin) < 0) return NULL;
    return out;
}

/* The hold's cells and path are usual ones; `over`: the path is over, or has other cells by now. */
static int can_close(const Charge *one, int *over) {
    PyObject *cells = SLOT(one->hold, hold_at[CELLS]), *path = SLOT(one->hold, hold_at[PATH]);
    long long free, unit, until;
    if (!is_cells(cells) || path == NULL || !Py_IS_TYPE(path, path_type) || !whole(SLOT(path, path_at[UNTIL]), &until)) return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(cells); i++)
        if (!read_cell(PyTuple_GET_ITEM(cells, i), &free, &unit)) return 0;
    *over |= one->at_ms >= until || SLOT(path, path_at[PATH_CELLS]) != cells;
    return 1;
}

static int give(PyObject *cells, const Amounts *freed) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(cells); i++) {
        PyObject *cell = PyTuple_GET_ITEM(cells, i);
        long long unit = PyLong_AsLongLong(SLOT(cell, cell_at[UNIT]));
        PyObject *fresh = PyLong_FromLongLong(PyLong_AsLongLong(SLOT(cell, cell_at[FREE])) + freed->of[unit]);
        if (fresh == NULL) return 0;
        put(cell, cell_at[FREE], fresh);
    }
    return 1;
}

/* close(charges) -> 0: every hold is closed and what is left of it given back; 1: so too, but a path is over or has other
 * cells by now; -1: nothing was done */
static PyObject *close_(PyObject *module, PyObject *charges) {
    if (!is_charges(charges)) return PyLong_FromLong(-1);
    Py_ssize_t count = PyList_GET_SIZE(charges);
    int over = 0;
    Charge one;
    for (Py_ssize_t i = 0; i < count; i++)
        if (!charge(PyList_GET_ITEM(charges, i), &one) || !can_close(&one, &over)) return PyLong_FromLong(-1);
    Amounts freed = {{0}};
    PyObject *cells = NULL;
    for (Py_ssize_t i = 0; i < count; i++) { /* those of the same cells that come together in one go */
        charge(PyList_GET_ITEM(charges, i), &one);
        PyObject *own = SLOT(one.hold, hold_at[CELLS]);
        if (own != cells) {
            if (cells != NULL && !give(cells, &freed)) return NULL;
            cells = own;
            memset(&freed, 0, sizeof freed);
        }
        freed.of[0] += one.granted.of[0] - one.tokens;
        freed.of[1] += one.granted.of[1] - 1;
        freed.of[2] += one.granted.of[2] - one.nano;
        freed.of[3] += one.granted.of[3];
        put(one.hold, hold_at[CLOSED], Py_NewRef(Py_True));
    }
    if (cells != NULL && !give(cells, &freed)) return NULL;
    return PyLong_FromLong(over);
}

static PyMethodDef METHODS[] = {
    {"bind", (PyCFunction)(void (*)(void))bind, METH_FASTCALL, NULL},
    {"hold", (PyCFunction)(void (*)(void))hold, METH_FASTCALL, NULL},
    {"lines", (PyCFunction)(void (*)(void))lines, METH_FASTCALL, NULL},
    {"close", close_, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_tally", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__tally(void) { return PyModule_Create(&MODULE); }
