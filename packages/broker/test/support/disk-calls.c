/* Calls that are about no file of the store, and may fail or hang. */
#include "disk.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sys/statfs.h>

/* How glibc marks a mutex that processes share. */
#define SHARED 128

static void *next(void **real, const char *name) {
  if (!*real) *real = dlsym(RTLD_NEXT, name);
  return *real;
}

CALL int pthread_mutex_lock(pthread_mutex_t *mutex) {
  static void *real;
  int error = mutex->__data.__kind & SHARED ? failure(OTHER, "lock") : 0;
  return error ? error : ((int (*)(pthread_mutex_t *))next(&real, "pthread_mutex_lock"))(mutex);
}

CALL int statfs64(const char *path, struct statfs64 *status) {
  static void *real;
  errno = failure(OTHER, "space");
  return errno ? -1 : ((int (*)(const char *, struct statfs64 *))next(&real, "statfs64"))(path, status);
}
