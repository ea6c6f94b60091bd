/*
 * A disk that can be told to misbehave, for LD_PRELOAD. It watches the one file whose path ends with $DISK_FILE.
 *
 *   DISK_IMAGE=PATH     keeps PATH as the file would be had everything after the last fdatasync been lost: a write enters it when
 *                       the fdatasync after it has returned (a write through an O_DSYNC descriptor at once)
 *   DISK_LIE_AFTER=N    the image takes nothing more after N syncs: a disk that says "synced" and is not
 *   DISK_DELAY_MS=N     every fdatasync takes N ms longer
 *   DISK_DIE=PATH       PATH contains "before N" or "after N": the process dies by SIGKILL right before or right after the Nth commit
 *                       from then on (LMDB's commit is the write of a meta page through its O_DSYNC descriptor)
 *   DISK_FAIL=PATH      while PATH exists, what it names (sync, commit, open) fails with the error number behind it: "sync 5", "commit,open 5"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 4096
enum { OTHER, PLAIN, SYNCED };

struct pending {
  struct pending *next;
  off_t offset;
  size_t size;
  char bytes[];
};

static char watched[MOST_DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct pending *first, **last = &first;
static int image = -1;
static long syncs;

static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);

__attribute__((constructor)) static void find_real(void) {
  real_open = dlsym(RTLD_NEXT, "open64");
  real_close = dlsym(RTLD_NEXT, "close");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
}

static long setting(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

static int kind_of(int fd) { return fd >= 0 && fd < MOST_DESCRIPTORS ? watched[fd] : OTHER; }

/* The error number in $DISK_FAIL, 0 when there is none for this. */
static int failure(const char *what) {
  const char *path = getenv("DISK_FAIL");
  char wanted[32] = {0};
  int error = 0;
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return 0;
  int mine = fscanf(file, "%31s %d", wanted, &error) == 2 && strstr(wanted, what);
  fclose(file);
  return mine ? error : 0;
}

static void into_image(const char *bytes, size_t size, off_t offset) {
  if (image < 0 || (setting("DISK_LIE_AFTER", -1) >= 0 && syncs > setting("DISK_LIE_AFTER", -1))) return;
  if (real_pwrite(image, bytes, size, offset) != (ssize_t)size) {
    perror("disk image");
    abort();
  }
}

static void written(int kind, const char *bytes, size_t size, off_t offset) {
  if (!getenv("DISK_IMAGE")) return;
  pthread_mutex_lock(&lock);
  if (kind == SYNCED) into_image(bytes, size, offset);
  else {
    struct pending *entry = malloc(sizeof *entry + size);
    *entry = (struct pending){.offset = offset, .size = size};
    memcpy(entry->bytes, bytes, size);
    *last = entry;
    last = &entry->next;
  }
  pthread_mutex_unlock(&lock);
}

static int synced(int fd, int (*real)(int)) {
  if (kind_of(fd) == OTHER) return real(fd);
  pthread_mutex_lock(&lock);
  struct pending *covered = first;
  first = NULL;
  last = &first;
  pthread_mutex_unlock(&lock);
  long delay = setting("DISK_DELAY_MS", 0);
  if (delay > 0) nanosleep(&(struct timespec){.tv_sec = delay / 1000, .tv_nsec = delay % 1000 * 1000000}, NULL);
  int error = failure("sync");
  int result = error ? -1 : real(fd);
  if (error) errno = error;
  int kept = errno;
  pthread_mutex_lock(&lock);
  if (result == 0) syncs++;
  while (covered) {
    struct pending *entry = covered;
    covered = entry->next;
    if (result == 0) into_image(entry->bytes, entry->size, entry->offset);
    free(entry);
  }
  pthread_mutex_unlock(&lock);
  errno = kept;
  return result;
}

int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const char *name = getenv("DISK_FILE");
  size_t length = strlen(path), suffix = name ? strlen(name) : 0;
  int mine = suffix && length >= suffix && strcmp(path + length - suffix, name) == 0;
  int error = mine ? failure("open") : 0;
  if (error) {
    errno = error;
    return -1;
  }
  int fd = real_open(path, flags, mode);
  if (!mine || fd < 0 || fd >= MOST_DESCRIPTORS) return fd;
  watched[fd] = flags & O_DSYNC ? SYNCED : PLAIN;
  pthread_mutex_lock(&lock);
  if (image < 0 && getenv("DISK_IMAGE")) image = real_open(getenv("DISK_IMAGE"), O_RDWR | O_CREAT, 0600);
  pthread_mutex_unlock(&lock);
  return fd;
}

int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open64(path, flags, mode);
}

int close(int fd) {
  if (kind_of(fd) != OTHER) watched[fd] = OTHER;
  return real_close(fd);
}

/* Counts a commit down; true when the process is to die at this one, on the given side of it. */
static int dies(const char *side) {
  const char *path = getenv("DISK_DIE");
  char wanted[16] = {0};
  int left = 0;
  FILE *file = path ? fopen(path, "r+") : NULL;
  if (!file) return 0;
  int mine = fscanf(file, "%15s %d", wanted, &left) == 2 && strcmp(wanted, side) == 0;
  if (mine && left > 1) {
    rewind(file);
    fprintf(file, "%s %d\n", wanted, left - 1);
  }
  fclose(file);
  if (mine && left <= 1) unlink(path);
  return mine && left <= 1;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
  int kind = kind_of(fd);
  if (kind == SYNCED && dies("before")) raise(SIGKILL);
  int error = kind == SYNCED ? failure("commit") : 0;
  if (error) {
    errno = error;
    return -1;
  }
  ssize_t result = real_pwrite(fd, bytes, size, offset);
  if (kind == SYNCED && dies("after")) raise(SIGKILL);
  if (kind != OTHER && result > 0) written(kind, bytes, (size_t)result, offset);
  return result;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return pwrite64(fd, bytes, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  int kind = kind_of(fd);
  off_t offset = kind == OTHER ? 0 : lseek(fd, 0, SEEK_CUR);
  ssize_t result = real_writev(fd, parts, count);
  size_t rest = result > 0 ? (size_t)result : 0;
  for (int n = 0; kind != OTHER && n < count && rest > 0; n++) {
    size_t size = parts[n].iov_len < rest ? parts[n].iov_len : rest;
    written(kind, parts[n].iov_base, size, offset);
    offset += (off_t)size;
    rest -= size;
  }
  return result;
}

int fdatasync(int fd) { return synced(fd, real_fdatasync); }

int fsync(int fd) { return synced(fd, real_fsync); }
