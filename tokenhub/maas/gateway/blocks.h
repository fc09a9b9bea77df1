/* Blocks of a stream, for `leaves.c` and `gate.c`: what they count, `chunks.plain_events` counts too. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

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
