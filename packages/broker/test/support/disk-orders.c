#include "disk.h"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t control = PTHREAD_MUTEX_INITIALIZER;

long setting(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

/* What a file of orders says: words, a number, and how often (0: always). */
struct order {
  char words[64];
  int number, times;
};

static bool names(const struct order *order, const char *word) {
  char copy[64], *rest = NULL;
  strcpy(copy, order->words);
  for (char *one = strtok_r(copy, ",", &rest); one; one = strtok_r(NULL, ",", &rest))
    if (strcmp(one, word) == 0) return true;
  return false;
}

static bool read_order(const char *path, const char *word, struct order *order) {
  *order = (struct order){0};
  FILE *file = path ? fopen(path, "r") : NULL;
  if (!file) return false;
  bool found = fscanf(file, "%63s %d %d", order->words, &order->number, &order->times) >= 2;
  fclose(file);
  return found && names(order, word);
}

/* In place: who writes a new order at the same time has the last word. */
static void write_order(const char *path, const struct order *order) {
  FILE *file = fopen(path, "r+");
  if (!file) return;
  if (order->times) fprintf(file, "%s %d %d \n", order->words, order->number, order->times);
  else fprintf(file, "%s %d \n", order->words, order->number);
  fclose(file);
}

static int fails(const char *word) {
  const char *path = getenv("DISK_FAIL");
  struct order order;
  if (!path) return 0;
  pthread_mutex_lock(&control);
  bool mine = read_order(path, word, &order);
  if (mine && order.times == 1) real_unlink(path);
  if (mine && order.times-- > 1) write_order(path, &order);
  pthread_mutex_unlock(&control);
  return mine ? order.number : 0;
}

static int failure_of(enum kind kind, const char *what) {
  char exact[32];
  snprintf(exact, sizeof exact, "%s-%s", kind == JOURNAL ? "journal" : "table", what);
  int error = kind == OTHER ? 0 : fails(exact);
  return error ? error : fails(what);
}

int failure(enum kind kind, const char *what) {
  for (;;) {
    int error = failure_of(kind, what);
    if (error >= 0) return error;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
}

bool dies(const char *point) {
  const char *path = getenv("DISK_DIE");
  struct order order;
  if (!path) return false;
  pthread_mutex_lock(&control);
  bool mine = read_order(path, point, &order);
  bool now = mine && order.number <= 1;
  if (now) real_unlink(path);
  if (mine && order.number-- > 1) write_order(path, &order);
  pthread_mutex_unlock(&control);
  return now;
}

void die_if(const char *point) {
  if (dies(point)) raise(SIGKILL);
}
