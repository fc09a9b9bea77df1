/* A gate for the usual blocks of a stream, for machines with a C compiler: counts them and passes them on. `pipe.py` has its
 * twin in Python, which is what it must do (tests/gateway/test_pipe.py).
 */
#define _GNU_SOURCE /* memmem */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

/* One whole chunk that ends with an event, from `at` on: where the next begins; 0 for anything else. */
static Py_ssize_t next_chunk(const unsigned char *data, Py_ssize_t size, Py_ssize_t at) {
    Py_ssize_t start = at, length = 0;
    for (; at < size && at - start <= 8; at++) {
        unsigned char letter = data[at] | 0x20;
        if (data[at] >= '0' && data[at] <= '9') length = length * 16 + (data[at] - '0');
        else if (letter >= 'a' && letter <= 'f') length = length * 16 + (letter - 'a' + 10);
        else break;
    }
    if (at == start || at - start > 8 || size - at < 4 || data[at] != '\r' || data[at + 1] != '\n' || !length) return 0;
    at += 2;
    if (length > size - at - 2) return 0;
    at += length + 2;
    return memcmp(data + at - 4, "\n\n\r\n", 4) ? 0 : at;
}

/* How many events a block has that is whole chunks of them with nothing to look at; else 0. */
static long plain_events(PyObject *block) {
    if (!PyBytes_CheckExact(block)) return 0;
    const unsigned char *data = (const unsigned char *)PyBytes_AS_STRING(block), *end;
    Py_ssize_t size = PyBytes_GET_SIZE(block), at = 0;
    if (size < 10 || memcmp(data + size - 5, "}\n\n\r\n", 5)) return 0;
    while (at < size)
        if (!(at = next_chunk(data, size, at))) return 0;
    if (memmem(data, size, "\"usage\":{", 9) || memmem(data, size, "\"usage\": {", 10) ||
        memmem(data, size, "\"finish_reason\":\"", 17))
        return 0;
    long count = 0;
    end = data + size - 1;
    for (const unsigned char *p = data; p < end && (p = memchr(p, '\n', end - p)) != NULL; p++) {
        if (p[1] == '\n') {
            count++;
            p++;
        }
    }
    return count;
}

typedef struct {
    PyObject_HEAD
    PyObject *rest, *write;
    long long left, opened, passed;
    double at;
} Gate;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Gate(rest, write): `write` gets what passes, `rest` everything else. */
static int gate_init(PyObject *object, PyObject *args, PyObject *options) {
    Gate *self = (Gate *)object;
    PyObject *rest, *write, *old_rest = self->rest, *old_write = self->write;
    if (options != NULL && PyDict_GET_SIZE(options)) {
        PyErr_SetString(PyExc_TypeError, "Gate takes no names");
        return -1;
    }
    if (!PyArg_ParseTuple(args, "OO", &rest, &write)) return -1;
    self->rest = Py_NewRef(rest);
    self->write = Py_NewRef(write);
    Py_XDECREF(old_rest);
    Py_XDECREF(old_write);
    self->left = self->opened = self->passed = 0;
    self->at = now();
    return 0;
}

static int gate_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(((Gate *)object)->rest);
    Py_VISIT(((Gate *)object)->write);
    return 0;
}

static int gate_clear(PyObject *object) {
    Py_CLEAR(((Gate *)object)->rest);
    Py_CLEAR(((Gate *)object)->write);
    return 0;
}

static void gate_dealloc(PyObject *object) {
    PyObject_GC_UnTrack(object);
    gate_clear(object);
    Py_TYPE(object)->tp_free(object);
}

static PyObject *data_received(PyObject *object, PyObject *data) {
    Gate *self = (Gate *)object;
    long found = plain_events(data);
    PyObject *taker = self->rest;
    if (found && found <= self->left) {
        self->left -= found;
        self->at = now();
        taker = self->write;
    }
    if (taker == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "this gate leads nowhere");
        return NULL;
    }
    Py_INCREF(taker);
    PyObject *said = PyObject_CallOneArg(taker, data);
    Py_DECREF(taker);
    if (said == NULL) return NULL;
    Py_DECREF(said);
    Py_RETURN_NONE;
}

static void fold(Gate *self, long long events) {
    self->passed += self->opened - self->left;
    self->opened = self->left = events;
}

static PyObject *gate_open(PyObject *object, PyObject *events) {
    long long count = PyLong_AsLongLong(events);
    if (count == -1 && PyErr_Occurred()) return NULL;
    fold((Gate *)object, count);
    Py_RETURN_NONE;
}

static PyObject *gate_close(PyObject *object, PyObject *none) {
    fold((Gate *)object, 0);
    Py_RETURN_NONE;
}

static PyObject *gate_take(PyObject *object, PyObject *none) {
    Gate *self = (Gate *)object;
    fold(self, 0);
    PyObject *passed = PyLong_FromLongLong(self->passed);
    if (passed != NULL) self->passed = 0;
    return passed;
}

static PyMethodDef METHODS[] = {
    {"data_received", data_received, METH_O, NULL},
    {"open", gate_open, METH_O, NULL},
    {"close", gate_close, METH_NOARGS, NULL},
    {"take", gate_take, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef MEMBERS[] = {
    {"at", T_DOUBLE, offsetof(Gate, at), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject TYPE = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "_gate.Gate",
    .tp_basicsize = sizeof(Gate),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = gate_init,
    .tp_dealloc = gate_dealloc,
    .tp_traverse = gate_traverse,
    .tp_clear = gate_clear,
    .tp_methods = METHODS,
    .tp_members = MEMBERS,
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_gate", NULL, -1, NULL, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__gate(void) {
    PyObject *module = PyModule_Create(&MODULE);
    if (module != NULL && PyModule_AddType(module, &TYPE) < 0) Py_CLEAR(module);
    return module;
}
