/* Readers over bytes of JSON and of heads, for `leaves.c`: each returns 1 and moves on, or 0 for "not the usual case".
 *
 * A cursor never moves beyond its end, and no reader looks there.
 */
#define _GNU_SOURCE /* memmem */
#include <string.h>
#include <sys/types.h>

typedef unsigned char byte;

typedef struct {
    const byte *at, *end;
    int codes; /* strings may have `\u` escapes (none of a surrogate) */
} Cursor;

typedef struct {
    const byte *start, *end;
} Span;

#define DEPTH_MAX 32
#define COUNT_DIGITS_MAX 9

static void skip_space(Cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static int take(Cursor *c, byte wanted) {
    if (c->at >= c->end || *c->at != wanted) return 0;
    c->at++;
    return 1;
}

/* 1 where a string's next byte needs a look: a control character, a quote, a backslash, the start of a sequence. */
static byte looks[256];

static void know_looks(void) {
    for (int i = 0; i < 256; i++) looks[i] = i < 0x20 || i >= 0x80 || i == '"' || i == '\\';
}

static int utf8_sequence(Cursor *c) {
    const byte *p = c->at;
    ssize_t left = c->end - p;
    byte first = p[0];
    if (first >= 0xc2 && first <= 0xdf) {
        if (left < 2 || (p[1] & 0xc0) != 0x80) return 0;
        c->at += 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80) return 0;
        if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] > 0x9f)) return 0;
        c->at += 3;
    } else if (first >= 0xf0 && first <= 0xf4) {
        if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80) return 0;
        if ((first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] > 0x8f)) return 0;
        c->at += 4;
    } else {
        return 0;
    }
    return 1;
}

/* `\uXXXX`, not of a surrogate. */
static int code(Cursor *c) {
    if (c->end - c->at < 6) return 0;
    for (int i = 2; i < 6; i++) {
        byte one = c->at[i];
        if (!((one >= '0' && one <= '9') || ((one | 0x20) >= 'a' && (one | 0x20) <= 'f'))) return 0;
    }
    if ((c->at[2] | 0x20) == 'd' && c->at[3] > '7') return 0;
    c->at += 6;
    return 1;
}

/* A string, quotes included. `plain`: set to 0 where it has an escape or a byte beyond ASCII. */
static int string(Cursor *c, Span *inside, int *plain) {
    if (!take(c, '"')) return 0;
    inside->start = c->at;
    *plain = 1;
    for (;;) {
        while (c->end - c->at >= 8) { /* eight at a time while nothing needs a look */
            const byte *p = c->at;
            if (looks[p[0]] | looks[p[1]] | looks[p[2]] | looks[p[3]] | looks[p[4]] | looks[p[5]] | looks[p[6]] | looks[p[7]]) break;
            c->at += 8;
        }
        while (c->at < c->end && !looks[*c->at]) c->at++;
        if (c->at >= c->end) return 0;
        byte now = *c->at;
        if (now == '"') {
            inside->end = c->at++;
            return 1;
        }
        *plain = 0;
        if (now >= 0x80) {
            if (!utf8_sequence(c)) return 0;
        } else if (now == '\\' && c->codes && c->end - c->at > 1 && c->at[1] == 'u') {
            if (!code(c)) return 0;
        } else if (now == '\\') {
            if (c->end - c->at < 2 || !memchr("\"\\/bfnrt", c->at[1], 8)) return 0;
            c->at += 2;
        } else {
            return 0;
        }
    }
}

static int is(const Span *span, const char *text) {
    size_t size = strlen(text);
    return (size_t)(span->end - span->start) == size && !memcmp(span->start, text, size);
}

static int word(Cursor *c, const char *text) {
    size_t size = strlen(text);
    if ((size_t)(c->end - c->at) < size || memcmp(c->at, text, size)) return 0;
    c->at += size;
    return 1;
}

static int digits(Cursor *c) {
    const byte *start = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return (int)(c->at - start);
}

/* Any number of JSON's grammar. */
static int any_number(Cursor *c) {
    if (c->at < c->end && *c->at == '-') c->at++;
    const byte *start = c->at;
    int count = digits(c);
    if (!count || (*start == '0' && count > 1)) return 0;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (!digits(c)) return 0;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-')) c->at++;
        int exponent = digits(c);
        if (!exponent || exponent > 2) return 0; /* what overflows is the twin's to judge */
    }
    return c->at - start < 300;
}

/* A whole number of at most nine digits, none negative. */
static int count_of(Cursor *c, long *value) {
    const byte *start = c->at;
    int count = digits(c);
    if (!count || count > COUNT_DIGITS_MAX || (*start == '0' && count > 1)) return 0;
    if (c->at < c->end && (*c->at == '.' || *c->at == 'e' || *c->at == 'E')) return 0;
    *value = 0;
    for (const byte *p = start; p < c->at; p++) *value = *value * 10 + (*p - '0');
    return 1;
}

/* A decimal of at most nine digits in all, without an exponent: exact enough to compare with a bound. */
static int decimal(Cursor *c, double low, double high) {
    int negative = take(c, '-');
    const byte *start = c->at;
    int whole = digits(c), parts = 0;
    if (!whole || (*start == '0' && whole > 1)) return 0;
    double value = 0, scale = 1;
    for (const byte *p = start; p < c->at; p++) value = value * 10 + (*p - '0');
    if (take(c, '.')) {
        const byte *point = c->at;
        parts = digits(c);
        if (!parts) return 0;
        for (const byte *p = point; p < c->at; p++) {
            value = value * 10 + (*p - '0');
            scale *= 10;
        }
    }
    if (whole + parts > COUNT_DIGITS_MAX) return 0;
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) return 0;
    value = negative ? -value / scale : value / scale;
    return value >= low && value <= high;
}

/* Any value, checked to be JSON. */
static int any_value(Cursor *c, int depth) {
    Span inside;
    int plain;
    if (c->at >= c->end || depth > DEPTH_MAX) return 0;
    switch (*c->at) {
    case '"':
        return string(c, &inside, &plain);
    case 't':
        return word(c, "true");
    case 'f':
        return word(c, "false");
    case 'n':
        return word(c, "null");
    case '[':
        c->at++;
        skip_space(c);
        if (take(c, ']')) return 1;
        for (;;) {
            if (!any_value(c, depth + 1)) return 0;
            skip_space(c);
            if (take(c, ']')) return 1;
            if (!take(c, ',')) return 0;
            skip_space(c);
        }
    case '{':
        c->at++;
        skip_space(c);
        if (take(c, '}')) return 1;
        for (;;) {
            if (!string(c, &inside, &plain)) return 0;
            skip_space(c);
            if (!take(c, ':')) return 0;
            skip_space(c);
            if (!any_value(c, depth + 1)) return 0;
            skip_space(c);
            if (take(c, '}')) return 1;
            if (!take(c, ',')) return 0;
            skip_space(c);
        }
    default:
        return any_number(c);
    }
}

/* The next name of an object and its colon; `first` is set before the first. 1: a name, 0: not usual, -1: the end. */
static int next_name(Cursor *c, Span *name, int *first) {
    int plain;
    skip_space(c);
    if (*first) {
        if (!take(c, '{')) return 0;
        skip_space(c);
        *first = 0;
        if (take(c, '}')) return -1;
    } else {
        if (take(c, '}')) return -1;
        if (!take(c, ',')) return 0;
        skip_space(c);
    }
    if (!string(c, name, &plain) || !plain) return 0;
    skip_space(c);
    if (!take(c, ':')) return 0;
    skip_space(c);
    return 1;
}

static int same_name(const byte *at, ssize_t size, const char *lower) {
    if ((size_t)size != strlen(lower)) return 0;
    for (ssize_t i = 0; i < size; i++) {
        byte letter = at[i];
        if (letter >= 'A' && letter <= 'Z') letter |= 0x20;
        if (letter != (byte)lower[i]) return 0;
    }
    return 1;
}

static int has_prefix(Span value, const char *lower) {
    ssize_t size = (ssize_t)strlen(lower);
    return value.end - value.start >= size && same_name(value.start, size, lower);
}
