/* Loaded into a program with LD_PRELOAD: writes down what the program connects to, looks up and writes.
 *
 * One line an event goes to the file $WATCH_LOG: its kind (connect, look-up, write), a tab, and where to. Connections
 * and look-ups fail here, as they do without a network: nothing leaves the computer while it is watched. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define MODE(last) ({ va_list rest; va_start(rest, last); mode_t mode = va_arg(rest, mode_t); va_end(rest); mode; })

static void note(const char *kind, const char *where) {
    int kept = errno;
    char line[PATH_MAX * 2 + 32];
    int length = snprintf(line, sizeof line, "%s\t%s\n", kind, where ? where : "");
    const char *name = getenv("WATCH_LOG");
    int log = name ? REAL(open)(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (log >= 0) {
        if (write(log, line, length < (int)sizeof line ? length : (int)sizeof line) < 0) abort();
        close(log);
    }
    errno = kept;
}

static void note_write(int folder, const char *path) {
    char full[PATH_MAX * 2], link[64], base[PATH_MAX];
    if (!path || path[0] == '/') return note("write", path);
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    base[length < 0 ? 0 : length] = 0;
    snprintf(full, sizeof full, "%s/%s", base, path);
    note("write", full);
}

static int writes(int flags) { return flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC); }

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        if (writes(flags)) note_write(AT_FDCWD, path); \
        return REAL(name)(path, flags, MODE(flags)); \
    }
#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        if (writes(flags)) note_write(folder, path); \
        return REAL(name)(folder, path, flags, MODE(flags)); \
    }
#define OPEN_2(name) \
    int name(const char *path, int flags) { \
        if (writes(flags)) note_write(AT_FDCWD, path); \
        return REAL(name)(path, flags); \
    }
#define OPENAT_2(name) \
    int name(int folder, const char *path, int flags) { \
        if (writes(flags)) note_write(folder, path); \
        return REAL(name)(folder, path, flags); \
    }
#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        if (strpbrk(mode, "wa+")) note_write(AT_FDCWD, path); \
        return REAL(name)(path, mode); \
    }
int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)
OPEN_2(__open_2) OPEN_2(__open64_2) OPENAT_2(__openat_2) OPENAT_2(__openat64_2)
FOPEN(fopen) FOPEN(fopen64)

/* Each is one call: NAME(parameters) that notes PATH in FOLDER. What makes a temporary file writes its name into PATH. */
#define ONE(type, name, parameters, arguments, folder, path) \
    type name parameters { note_write(folder, path); return REAL(name) arguments; }
ONE(int, creat, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ONE(int, creat64, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ONE(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ONE(int, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode), folder, path)
ONE(int, mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device), AT_FDCWD, path)
ONE(int, mkfifo, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ONE(int, rename, (const char *from, const char *path), (from, path), AT_FDCWD, path)
ONE(int, renameat, (int old, const char *from, int folder, const char *path), (old, from, folder, path), folder, path)
ONE(int, link, (const char *from, const char *path), (from, path), AT_FDCWD, path)
ONE(int, symlink, (const char *from, const char *path), (from, path), AT_FDCWD, path)
ONE(int, truncate, (const char *path, off_t size), (path, size), AT_FDCWD, path)
ONE(int, mkstemp, (char *path), (path), AT_FDCWD, path)
ONE(int, mkstemp64, (char *path), (path), AT_FDCWD, path)
ONE(int, mkostemp, (char *path, int flags), (path, flags), AT_FDCWD, path)
ONE(int, mkostemp64, (char *path, int flags), (path, flags), AT_FDCWD, path)
ONE(int, mkstemps, (char *path, int ending), (path, ending), AT_FDCWD, path)
ONE(char *, mkdtemp, (char *path), (path), AT_FDCWD, path)
ONE(FILE *, tmpfile, (void), (), AT_FDCWD, "tmpfile")
ONE(FILE *, tmpfile64, (void), (), AT_FDCWD, "tmpfile")

static int called(const char *kind, const struct sockaddr *address) {
    char where[INET6_ADDRSTRLEN + sizeof(struct sockaddr_un)] = "";
    if (!address) return 0;
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, where, sizeof where);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, where, sizeof where);
    else if (address->sa_family == AF_UNIX) {
        const char *path = ((const struct sockaddr_un *)address)->sun_path;
        snprintf(where, sizeof where, "unix %s%s", path[0] ? "" : "@", path[0] ? path : path + 1);
    } else
        snprintf(where, sizeof where, "family %d", address->sa_family);
    note(kind, where);
    errno = ENETUNREACH;
    return -1;
}

int connect(int socket, const struct sockaddr *address, socklen_t size) {
    (void)socket, (void)size;
    return called("connect", address);
}
ssize_t sendto(int socket, const void *data, size_t length, int flags, const struct sockaddr *address, socklen_t size) {
    return called("connect", address) ? -1 : REAL(sendto)(socket, data, length, flags, address, size);
}
ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    return called("connect", message->msg_name) ? -1 : REAL(sendmsg)(socket, message, flags);
}
int sendmmsg(int socket, struct mmsghdr *messages, unsigned int count, int flags) {
    for (unsigned int number = 0; number < count; number++)
        if (called("connect", messages[number].msg_hdr.msg_name)) return -1;
    return REAL(sendmmsg)(socket, messages, count, flags);
}
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    (void)service, (void)hints, (void)found;
    note("look-up", name);
    return EAI_FAIL;
}
struct hostent *gethostbyname(const char *name) {
    note("look-up", name);
    h_errno = NO_RECOVERY;
    return NULL;
}
struct hostent *gethostbyname2(const char *name, int family) {
    (void)family;
    return gethostbyname(name);
}
int gethostbyname_r(const char *name, struct hostent *entry, char *buffer, size_t size, struct hostent **found, int *error) {
    (void)entry, (void)buffer, (void)size;
    note("look-up", name);
    *found = NULL, *error = NO_RECOVERY;
    return EAGAIN;
}
