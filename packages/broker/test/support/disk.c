/*
 * A disk that can be told to misbehave, for LD_PRELOAD. It watches the files of one store: mqtt-broker.mdb (the tables) and
 * journal.0, journal.1, … (the journal) in the first folder in which one of them is opened for writing.
 *
 *   DISK_IMAGE=DIR      keeps in DIR the store's files as a power cut at this moment would leave them: a write or a new length
 *                       enters when the fdatasync after it has returned (a write through an O_DSYNC descriptor at once), and not
 *                       at all when that failed; then neither does what is written to the same place of a journal later. A new
 *                       file or name enters when the folder was fsynced; a removal then, or at once.
 *                       Each life of the process must begin with what DIR holds.
 *   DISK_TEAR=HOW       and of what was not synced a part has reached the disk: the first half of each write (half), or any of
 *                       its sectors of 512 bytes (random)
 *   DISK_LIE_AFTER=N    the image takes nothing more after N syncs: a disk that says "synced" and is not
 *   DISK_DELAY_MS=N     every sync takes N ms longer
 *   DISK_DIE=PATH       PATH contains one of these and a number N: the process dies by SIGKILL at the Nth from then on
 *                         before, after                right before, right after the fdatasync that makes a record of the journal durable
 *                         torn                         when half a record is written
 *                         fold-before, fold-after      around the write of LMDB's meta page, which commits its transaction
 *                         switch-before, switch-after  around the write that begins a segment
 *                       Zeros written to a journal are filling, no record.
 *   DISK_FAIL=PATH      while PATH exists, what it names fails with the error number behind it: "sync 5", "commit,open 5"; with a
 *                       second number only so many times: "journal-sync 5 1". With the number -1 it hangs, as long as PATH says so.
 *                         sync, journal-sync, table-sync    fdatasync and fsync of a file; all of them, or of one kind
 *                         filling-sync                      one that covers zeros that were written ahead
 *                         folder-sync                       fsync of the folder
 *                         commit                            the write of a record
 *                         journal-write, table-write        any write to a file of this kind
 *                         fold                              the write of LMDB's meta page
 *                         open, journal-open, table-open    opening
 *                         lock                              locking a mutex that processes share, which LMDB's are
 *                         space                             asking how much space there is
 */
#include "disk.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 4096

static struct {
  struct node *node;
  bool synced;
  /* failures of the file that it was told of */
  long told;
} descriptors[MOST_DESCRIPTORS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t sync_ended = PTHREAD_COND_INITIALIZER;
static struct node *nodes;
/* of the store, with the slash behind it */
static char folder[PATH_MAX];

int (*real_open)(const char *, int, ...);
int (*real_close)(int);
ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
int (*real_ftruncate)(int, off_t);
int (*real_unlink)(const char *);
int (*real_rename)(const char *, const char *);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fdatasync)(int);
static int (*real_fsync)(int);
static int (*real_remove)(const char *);

__attribute__((constructor)) static void find_real(void) {
  real_open = dlsym(RTLD_NEXT, "open64");
  real_close = dlsym(RTLD_NEXT, "close");
  real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  real_write = dlsym(RTLD_NEXT, "write");
  real_writev = dlsym(RTLD_NEXT, "writev");
  real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
  real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
  real_fsync = dlsym(RTLD_NEXT, "fsync");
  real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
  real_unlink = dlsym(RTLD_NEXT, "unlink");
  real_remove = dlsym(RTLD_NEXT, "remove");
  real_rename = dlsym(RTLD_NEXT, "rename");
  srandom((unsigned)getpid() ^ (unsigned)time(NULL));
}

const char *name_in(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* By its name, in the store's folder; in any folder as long as that is not known. */
static enum kind kind_of(const char *path) {
  const char *name = name_in(path);
  size_t length = (size_t)(name - path);
  if (*folder && (strlen(folder) != length || strncmp(folder, path, length) != 0)) return OTHER;
  if (strncmp(name, "journal.", 8) == 0) return JOURNAL;
  return strncmp(name, "mqtt-broker.mdb", 15) == 0 && strcmp(name + 15, "-lock") != 0 ? TABLES : OTHER;
}

/* The file that is watched and has this descriptor. libuv closes without close(): the descriptor may be another thing's by now. */
static struct node *node_of(int fd) {
  struct stat status;
  struct node *node = fd >= 0 && fd < MOST_DESCRIPTORS ? descriptors[fd].node : NULL;
  if (!node || (fstat(fd, &status) == 0 && status.st_ino == node->inode && status.st_dev == node->device)) return node;
  return descriptors[fd].node = NULL;
}

static int failed(int error) {
  errno = error;
  return -1;
}

static struct node *find_node(const struct stat *status) {
  struct node *node = nodes;
  while (node && (node->inode != status->st_ino || node->device != status->st_dev)) node = node->next;
  return node;
}

static struct node *make_node(const char *path, const struct stat *status, bool is_new) {
  if (!*folder) snprintf(folder, (size_t)(name_in(path) - path) + 1, "%s", path);
  struct node *node = calloc(1, sizeof *node);
  *node = (struct node){.next = nodes, .kind = kind_of(path), .device = status->st_dev, .inode = status->st_ino, .image = -1};
  node->last = &node->first;
  nodes = node;
  if (has_image()) image_begin(node, path, is_new);
  return node;
}

static void opened(const char *path, int fd, int flags, bool is_new) {
  struct stat status;
  if (fd < 0 || fd >= MOST_DESCRIPTORS || fstat(fd, &status) != 0) return;
  pthread_mutex_lock(&lock);
  struct node *node = is_new ? NULL : find_node(&status);
  if (!node && (flags & O_ACCMODE) != O_RDONLY) node = make_node(path, &status, is_new);
  if (node && flags & O_TRUNC) image_length(node, 0);
  descriptors[fd].node = node;
  descriptors[fd].synced = flags & O_DSYNC;
  descriptors[fd].told = node ? node->failures : 0;
  pthread_mutex_unlock(&lock);
}

CALL int open64(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  enum kind kind = kind_of(path);
  int error = kind == OTHER ? 0 : failure(kind, "open");
  if (error) return failed(error);
  bool is_new = kind != OTHER && access(path, F_OK) != 0;
  int fd = real_open(path, flags, mode);
  if (kind != OTHER) opened(path, fd, flags, is_new);
  else if (fd >= 0 && fd < MOST_DESCRIPTORS) descriptors[fd].node = NULL;
  return fd;
}

CALL int open(const char *path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return open64(path, flags, mode);
}

static bool is_zero(const char *bytes, size_t size) { return size == 0 || (*bytes == 0 && memcmp(bytes, bytes + 1, size - 1) == 0); }

/* The write, and what the disk knows of it. */
static ssize_t put_bytes(int fd, const char *bytes, size_t size, off_t offset) {
  struct node *node = node_of(fd);
  ssize_t result = real_pwrite(fd, bytes, size, offset);
  if (result <= 0) return result;
  pthread_mutex_lock(&lock);
  *(is_zero(bytes, (size_t)result) ? &node->has_filling : &node->has_record) = true;
  image_written(node, bytes, (size_t)result, offset, descriptors[fd].synced);
  pthread_mutex_unlock(&lock);
  return result;
}

static ssize_t failed_write(int fd, size_t size, off_t offset, int error) {
  pthread_mutex_lock(&lock);
  image_lost(node_of(fd), offset, size);
  pthread_mutex_unlock(&lock);
  return failed(error);
}

static ssize_t put_record(int fd, const char *bytes, size_t size, off_t offset) {
  if (offset == 0) die_if("switch-before");
  int error = failure(JOURNAL, "commit");
  if (error) return failed_write(fd, size, offset, error);
  bool tears = dies("torn");
  ssize_t result = put_bytes(fd, bytes, tears ? size / 2 : size, offset);
  if (tears) raise(SIGKILL);
  if (offset == 0) die_if("switch-after");
  return result;
}

static ssize_t put_meta(int fd, const char *bytes, size_t size, off_t offset) {
  die_if("fold-before");
  int error = failure(TABLES, "fold");
  if (error) return failed(error);
  ssize_t result = put_bytes(fd, bytes, size, offset);
  die_if("fold-after");
  return result;
}

/* All writes to a file that is watched end here. */
static ssize_t put(int fd, const char *bytes, size_t size, off_t offset) {
  enum kind kind = node_of(fd)->kind;
  int error = failure(kind, "write");
  if (error) return failed_write(fd, size, offset, error);
  if (kind == JOURNAL && !is_zero(bytes, size)) return put_record(fd, bytes, size, offset);
  if (kind == TABLES && descriptors[fd].synced) return put_meta(fd, bytes, size, offset);
  return put_bytes(fd, bytes, size, offset);
}

static ssize_t put_parts(int fd, const struct iovec *parts, int count, off_t offset) {
  size_t size = 0, at = 0;
  for (int n = 0; n < count; n++) size += parts[n].iov_len;
  char *bytes = malloc(size + 1);
  for (int n = 0; n < count; at += parts[n++].iov_len) memcpy(bytes + at, parts[n].iov_base, parts[n].iov_len);
  ssize_t result = put(fd, bytes, size, offset);
  free(bytes);
  return result;
}

/* Where write() writes: at the end, or where the descriptor is. */
static off_t place_of(int fd) { return lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR); }

static ssize_t step(int fd, off_t from, ssize_t result) {
  if (result > 0) lseek(fd, from + result, SEEK_SET);
  return result;
}

CALL ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) {
  return node_of(fd) ? put(fd, bytes, size, offset) : real_pwrite(fd, bytes, size, offset);
}

CALL ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) { return pwrite64(fd, bytes, size, offset); }

CALL ssize_t write(int fd, const void *bytes, size_t size) {
  if (!node_of(fd)) return real_write(fd, bytes, size);
  off_t at = place_of(fd);
  return step(fd, at, put(fd, bytes, size, at));
}

CALL ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (!node_of(fd)) return real_writev(fd, parts, count);
  off_t at = place_of(fd);
  return step(fd, at, put_parts(fd, parts, count, at));
}

CALL ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
  return node_of(fd) ? put_parts(fd, parts, count, offset) : real_pwritev(fd, parts, count, offset);
}

CALL ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev64(fd, parts, count, offset); }

CALL int ftruncate64(int fd, off_t length) {
  int result = real_ftruncate(fd, length);
  if (result != 0 || !node_of(fd)) return result;
  pthread_mutex_lock(&lock);
  image_length(node_of(fd), length);
  pthread_mutex_unlock(&lock);
  return result;
}

CALL int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static void wait_as_told(void) {
  long delay = setting("DISK_DELAY_MS", 0);
  if (delay > 0) nanosleep(&(struct timespec){.tv_sec = delay / 1000, .tv_nsec = delay % 1000 * 1000000}, NULL);
}

struct sync {
  struct change *covered;
  long number;
  /* failures of the file before it */
  long before;
  bool commits, fills;
};

static struct sync begin_sync(struct node *node) {
  pthread_mutex_lock(&lock);
  struct sync sync = {.covered = image_take(node), .number = node->syncs_begun++, .before = node->failures};
  sync.commits = node->kind == JOURNAL && node->has_record;
  sync.fills = node->kind == JOURNAL && node->has_filling;
  node->has_record = node->has_filling = false;
  pthread_mutex_unlock(&lock);
  return sync;
}

/*
 * A sync waits for what those before it took over. A failure loses all that waits, and what another sync of the file covers at
 * that moment. As the kernel does it, each descriptor is told once, by the sync that looks first.
 */
static int end_sync(int fd, struct node *node, const struct sync *sync, int error) {
  pthread_mutex_lock(&lock);
  while (node->syncs_ended != sync->number) pthread_cond_wait(&sync_ended, &lock);
  if (error) {
    image_synced(node, image_take(node), false);
    node->failures++;
    node->error = error;
  }
  image_synced(node, sync->covered, node->failures == sync->before);
  bool is_news = descriptors[fd].told != node->failures;
  descriptors[fd].told = node->failures;
  node->syncs_ended++;
  pthread_cond_broadcast(&sync_ended);
  pthread_mutex_unlock(&lock);
  return is_news ? failed(node->error) : 0;
}

static int sync_file(int fd, int (*real)(int)) {
  struct node *node = node_of(fd);
  struct sync sync = begin_sync(node);
  if (sync.commits) die_if("before");
  wait_as_told();
  int error = sync.fills ? failure(OTHER, "filling-sync") : 0;
  if (!error) error = failure(node->kind, "sync");
  if (!error && real(fd) != 0) error = errno;
  int result = end_sync(fd, node, &sync, error);
  int kept = errno;
  if (sync.commits) die_if("after");
  errno = kept;
  return result;
}

static bool is_folder(int fd) {
  struct stat mine, theirs;
  if (!*folder || fstat(fd, &theirs) != 0 || !S_ISDIR(theirs.st_mode) || stat(folder, &mine) != 0) return false;
  return mine.st_ino == theirs.st_ino && mine.st_dev == theirs.st_dev;
}

/* The fsync of the folder makes its names durable. */
static int sync_folder(int fd) {
  int error = failure(OTHER, "folder-sync");
  int result = error ? failed(error) : real_fsync(fd);
  if (result != 0 || !has_image()) return result;
  pthread_mutex_lock(&lock);
  image_names_synced();
  pthread_mutex_unlock(&lock);
  return result;
}

CALL int fdatasync(int fd) { return node_of(fd) ? sync_file(fd, real_fdatasync) : real_fdatasync(fd); }

CALL int fsync(int fd) {
  if (node_of(fd)) return sync_file(fd, real_fsync);
  return is_folder(fd) ? sync_folder(fd) : real_fsync(fd);
}

static bool is_watched(const char *path) { return *folder && kind_of(path) != OTHER; }

static int gone(const char *path, int result) {
  if (result != 0 || !has_image() || !is_watched(path)) return result;
  pthread_mutex_lock(&lock);
  image_removed(name_in(path));
  pthread_mutex_unlock(&lock);
  return result;
}

CALL int unlink(const char *path) { return gone(path, real_unlink(path)); }

CALL int remove(const char *path) { return gone(path, real_remove(path)); }

CALL int rename(const char *from, const char *to) {
  int result = real_rename(from, to);
  if (result != 0 || !has_image()) return result;
  if (!is_watched(to)) return gone(from, result);
  if (!is_watched(from)) abort(); /* its bytes are not known */
  pthread_mutex_lock(&lock);
  image_renamed(name_in(from), name_in(to));
  pthread_mutex_unlock(&lock);
  return result;
}
