/* A PKCS#11 module for tests: it does what the real one in $TOKEN_MODULE does, but for the one fault in $TOKEN_FAULT,
 * and writes a line to $TOKEN_LOG for each login and each signature. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long number;

/* CK_FUNCTION_LIST of version 2.40: the standard fixes the order. */
struct functions {
    unsigned char major, minor;
    void *calls[68];
};
enum { TOKEN_INFO = 6, LOGIN = 18, GET_ATTRIBUTES = 24, SIGN = 43 };

struct attribute {
    number type;
    void *value;
    number length;
};

/* CK_TOKEN_INFO, as far as its flags. */
struct token_info {
    unsigned char names[32 + 32 + 16 + 16];
    number flags;
};
enum { FINAL_TRY = 0x20000, LOCKED = 0x40000, PIN_PAD = 0x100 };

enum {
    DEVICE_REMOVED = 0x32,
    PIN_EXPIRED = 0xa3,
    PIN_LOCKED = 0xa4,
    SESSION_HANDLE_INVALID = 0xb3,
    VENDOR_DEFINED = 0x80000007,
    ATTRIBUTE_TYPE_INVALID = 0x12,
    MAY_SIGN = 0x108,
    EXTRACTABLE = 0x162,
    EC_POINT = 0x181,
};

static struct functions real, ours;
static int signatures;

static int fault(const char *name) {
    const char *wanted = getenv("TOKEN_FAULT");
    return wanted && strcmp(wanted, name) == 0;
}

static void note(const char *what) {
    const char *path = getenv("TOKEN_LOG");
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "%s\n", what);
        fclose(log);
    }
}

static number token_info(number slot, struct token_info *info) {
    number answer = ((number (*)(number, struct token_info *))real.calls[TOKEN_INFO])(slot, info);
    if (fault("final-try")) info->flags |= FINAL_TRY;
    if (fault("locked-flag")) info->flags |= LOCKED;
    if (fault("pin-pad")) info->flags |= PIN_PAD;
    return answer;
}

static number login(number session, number user, unsigned char *pin, number length) {
    note("login");
    if (fault("locked")) return PIN_LOCKED;
    if (fault("expired")) return PIN_EXPIRED;
    if (fault("vendor")) return VENDOR_DEFINED;
    if (fault("pin-pad")) {
        if (pin) return SESSION_HANDLE_INVALID;
        pin = (unsigned char *)"1234"; /* typed on the token */
        length = 4;
    }
    return ((number (*)(number, number, unsigned char *, number))real.calls[LOGIN])(session, user, pin, length);
}

/* The point without the octet string around it, as some tokens have it; a key that may not sign; a token that does not
 * say whether a key leaves it. */
static number attributes(number session, number object, struct attribute *list, number count) {
    number (*get)(number, number, struct attribute *, number) = real.calls[GET_ATTRIBUTES];
    number answer = 0;
    for (number at = 0; at < count; at++) {
        unsigned char point[256];
        struct attribute own = {EC_POINT, point, sizeof point};
        int bare = list[at].type == EC_POINT && fault("bare-point");
        number one = bare ? get(session, object, &own, 1) : get(session, object, &list[at], 1);
        if (bare && one == 0) {
            list[at].length = own.length - 2;
            if (list[at].value) memcpy(list[at].value, point + 2, own.length - 2);
        }
        if (list[at].type == MAY_SIGN && list[at].value && fault("no-sign")) *(unsigned char *)list[at].value = 0;
        if (list[at].type == EXTRACTABLE && fault("untold")) {
            list[at].length = (number)-1;
            one = ATTRIBUTE_TYPE_INVALID;
        }
        if (one != 0) answer = one;
    }
    return answer;
}

static number sign(number session, unsigned char *data, number length, unsigned char *signature, number *out) {
    if (signature) {
        note("sign");
        signatures++;
        if (fault("removed") && signatures > 20) return DEVICE_REMOVED;
        if (fault("session-lost") && signatures > 20) return SESSION_HANDLE_INVALID;
    }
    number (*sign)(number, unsigned char *, number, unsigned char *, number *) = real.calls[SIGN];
    number answer = sign(session, data, length, signature, out);
    if (signature && answer == 0) {
        if (fault("foreign-signature")) signature[40] ^= 1;
        if (fault("short-signature")) *out -= 1;
    }
    return answer;
}

number C_GetFunctionList(struct functions **list) {
    void *module = dlopen(getenv("TOKEN_MODULE"), RTLD_NOW);
    number (*get)(struct functions **) = module ? dlsym(module, "C_GetFunctionList") : NULL;
    struct functions *found;
    if (!get || get(&found) != 0) return 5;
    real = ours = *found;
    ours.calls[TOKEN_INFO] = token_info;
    ours.calls[LOGIN] = login;
    ours.calls[GET_ATTRIBUTES] = attributes;
    ours.calls[SIGN] = sign;
    *list = &ours;
    return 0;
}
